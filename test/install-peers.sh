#!/bin/sh
# Installs the Debian packages of every program that the tests are run against: the list that test/support/needs.ts keeps
# (a test holds the two together). Then unpacks what the tests boot a guest from. Silent and without network when all of
# it is there.
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
libvirt-clients
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
qemu-guest-agent
qemu-system-x86
qemu-utils
squashfs-tools
util-linux
xfsprogs
zerofree
zstd
'

# Not installed, which would make an initrd and change /boot: a kernel, and a static busybox, which would replace any other.
guest=${XDG_CACHE_HOME:-$HOME/.cache}/disktool-test/guest

case ${1-} in
  --list) printf '%s\n' $packages; exit ;;
  --guest) printf '%s\n' "$guest"; exit ;;
esac

command -v dpkg-query >/dev/null || {
  echo 'install-peers: this is no Debian system: install the programs that the tests name by hand' >&2
  exit 0
}

missing=
for package in $packages; do
  state=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null) || state=
  [ "$state" = installed ] || missing="$missing $package"
done
no_guest=
[ -d "$guest" ] || [ "$(dpkg --print-architecture)" != amd64 ] || no_guest=1
[ -n "$missing$no_guest" ] || exit 0

if [ "$(id -u)" = 0 ]; then
  as_root=
elif sudo -n true 2>/dev/null; then
  as_root='sudo -n'
else
  [ -z "$missing" ] || echo "install-peers: needs root or sudo to install:$missing" >&2
  missing=
  as_root=false
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
log=$work/log
try() {
  $as_root env DEBIAN_FRONTEND=noninteractive "$@" </dev/null >"$log" 2>&1
}
# A fresh machine has no package lists, an old one stale ones.
try apt-get update --quiet || :

if [ -n "$missing" ]; then
  echo "install-peers: installing$missing" >&2
  try apt-get install --yes --quiet --no-install-recommends $missing || {
    cat "$log" >&2
    echo "install-peers: apt-get could not install:$missing" >&2
    exit 1
  }
fi

if [ -n "$no_guest" ]; then
  echo "install-peers: unpacking a kernel for guests into $guest" >&2
  cat >"$work/unpack" <<'END'
    cd "$1"
    kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p')
    apt-get download "$kernel" busybox-static
    for package in ./*.deb; do dpkg-deb --extract "$package" unpacked; done
    ls unpacked/boot/vmlinuz-* unpacked/bin/busybox
    # Whole or not at all, for tests that look for it.
    mkdir -p "${2%/*}"
    cp -r unpacked "$2.$$"
    mv --no-target-directory "$2.$$" "$2"
END
  sh -e "$work/unpack" "$work" "$guest" </dev/null >"$log" 2>&1 || {
    cat "$log" >&2
    echo 'install-peers: there is no kernel for guests: the tests that boot one are left out, or fail' >&2
  }
fi
