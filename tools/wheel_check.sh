#!/usr/bin/env bash
# Tries wheels with NumPy alone, each in an empty environment:  tools/wheel_check.sh WHEEL ...
#
# A wheel for 64-bit ARM runs under qemu-user with Debian's Python, which is unpacked into a
# temporary folder from its packages. That needs qemu-aarch64, apt-get and dpkg-deb, and no root.
set -euo pipefail
cd "$(dirname "$0")/.."
unset PYTHONPATH
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
smoke=$PWD/tools/smoke.py

native() {
    "$python" -m venv "$work/venv"
    "$work/venv/bin/python" -m pip install --quiet "$1"
    (cd "$work" && venv/bin/python "$smoke")
    rm -rf "$work/venv"
}

# Packages of another architecture, in a package database of their own.
apt_arm64() {
    apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User= \
        -o APT::Install-Recommends=0 -o Dir::State="$work/apt" -o Dir::State::status="$work/status" \
        -o Dir::Cache="$work/apt" -o Dir::Etc::SourceList="$work/sources.list" \
        -o Dir::Etc::SourceParts=/dev/null "$@"
}

emulated() {
    mkdir -p "$work"/apt/{lists,archives}/partial "$work/root" "$work/packages"
    touch "$work/status"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]" \
        "http://deb.debian.org/debian bookworm main" >"$work/sources.list"
    apt_arm64 update
    # NumPy needs the second one.
    apt_arm64 install --download-only -y python3 libstdc++6 >/dev/null
    for package in "$work"/apt/archives/*.deb; do dpkg-deb -x "$package" "$work/root"; done
    # That Python is 3.11.
    "$python" -m pip install --quiet --root-user-action ignore --target "$work/packages" --only-binary :all: \
        --platform manylinux_2_28_aarch64 --platform manylinux2014_aarch64 --python-version 3.11 \
        --implementation cp --abi cp311 --abi abi3 "$1"
    # Children are started by the emulator's path too.
    printf '#!/bin/sh\nexec %s -L "%s" "%s" "$@"\n' "$(command -v qemu-aarch64)" "$work/root" \
        "$work/root/usr/bin/python3.11" >"$work/python"
    chmod +x "$work/python"
    (cd "$work" && PYTHONPATH="$work/packages" SMOKE_PYTHON="$work/python" "$work/python" "$smoke")
}

for wheel; do
    echo "== $wheel"
    case $wheel in
        *"$(uname -m)".whl) native "$wheel" ;;
        *aarch64.whl) emulated "$wheel" ;;
        *) echo "There is no way to run it here." >&2 && exit 1 ;;
    esac
done
