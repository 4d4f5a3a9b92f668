"""What several framework modules share. Modules here may import a framework."""
