#!/bin/sh
# Installs the Debian packages of every program that the tests are run against: the list that test/support/needs.ts keeps
# (a test holds the two together). Silent and without network when all of them are there.
set -eu

packages='
attr
bcache-tools
bmap-tools
bsdutils
btrfs-progs
cryptsetup-bin
dosfstools
e2fsprogs
exfat-fuse
exfatprogs
f2fs-tools
fdisk
fio
fuse3
gddrescue
gdisk
genisoimage
libnbd-bin
lvm2
mandoc
mdadm
mount
nbd-client
nbdkit
ntfs-3g
openssl
parted
python3-libnbd
qemu-utils
squashfs-tools
util-linux
xfsprogs
zerofree
zstd
'

if [ "${1-}" = --list ]; then
  printf '%s\n' $packages
  exit
fi

command -v dpkg-query >/dev/null || {
  echo 'install-peers: this is no Debian system: install the programs that the tests name by hand' >&2
  exit 0
}

missing=
for package in $packages; do
  state=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null) || state=
  [ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
  as_root=
elif sudo -n true 2>/dev/null; then
  as_root='sudo -n'
else
  echo "install-peers: needs root or sudo to install:$missing" >&2
  exit 0
fi

echo "install-peers: installing$missing" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
try() {
  $as_root env DEBIAN_FRONTEND=noninteractive "$@" </dev/null >"$log" 2>&1
}
# A fresh machine has no package lists, an old one stale ones.
try apt-get update --quiet || :
try apt-get install --yes --quiet --no-install-recommends $missing || {
  cat "$log" >&2
  echo "install-peers: apt-get could not install:$missing" >&2
  exit 1
}
