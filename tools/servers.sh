#!/usr/bin/env bash
# Installs the servers of the storage tests that are not on PyPI into .servers. It says what it cannot install, and does not fail:
# the tests of a missing server are skipped. TENSORFERRY_REQUIRE_SERVERS=1 makes each of them a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p .servers

# The last version that runs on Node.js before 21. None of its packages needs its install script. MIT.
azurite=3.35.0
if ! grep -qs "\"version\": \"$azurite\"" .servers/node_modules/azurite/package.json; then
    if command -v npm >/dev/null && command -v node >/dev/null; then
        npm install --prefix .servers --no-save --no-audit --no-fund --ignore-scripts --silent "azurite@$azurite" ||
            echo "npm did not install Azurite: tests of az:// are skipped." >&2
    else
        echo "npm is not installed (on Debian and Ubuntu: apt install npm): tests of az:// are skipped." >&2
    fi
fi

# Unpacked, not installed: this needs no rights, and apt would start it as a service on port 80. BSD.
works() { "$1" -v >/dev/null 2>&1; }
if ! works nginx && ! works /usr/sbin/nginx && ! works .servers/usr/sbin/nginx; then
    if command -v apt-get >/dev/null && command -v dpkg >/dev/null; then
        test "$(id -u)" != 0 || apt-get update -qq || true
        (cd .servers && apt-get download -qq nginx 2>/dev/null && dpkg -x nginx_*.deb .) || true
        rm -f .servers/nginx_*.deb
    fi
    works .servers/usr/sbin/nginx ||
        echo "nginx is not installed (on Debian and Ubuntu: apt install nginx-light): tests of http:// are skipped." >&2
fi
