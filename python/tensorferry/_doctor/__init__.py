"""What ``tensorferry doctor`` says about Python, its packages and the frameworks."""
