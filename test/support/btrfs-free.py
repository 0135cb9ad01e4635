"""Prints the free ranges of a btrfs image, a line each, by what btrfs inspect-internal dump-tree lists; with the word
"extents" behind the image, where on the device each copy of each extent lies instead.

Free is what no device extent has, and what no extent has of each stripe of each chunk: never the first MiB of the
device, nor the 64 KiB of a superblock.
"""
import re
import subprocess
import sys

image = sys.argv[1]


def dump(tree):
    args = ['btrfs', 'inspect-internal', 'dump-tree', '-t', tree, image]
    return subprocess.run(args, check=True, capture_output=True, text=True, errors='replace').stdout.splitlines()


superblock = subprocess.run(
    ['btrfs', 'inspect-internal', 'dump-super', image], check=True, capture_output=True, text=True).stdout
field = lambda name: int(re.search(rf'^{re.escape(name)}\s+(\d+)', superblock, re.M)[1])
size, sector, node = field('dev_item.total_bytes'), field('sectorsize'), field('nodesize')

chunks = []
for line in dump('chunk'):
    if m := re.search(r'key \(FIRST_CHUNK_TREE CHUNK_ITEM (\d+)\)', line):
        chunks.append([int(m[1]), 0, []])
    elif (m := re.search(r'^\s+length (\d+) owner', line)) and chunks:
        chunks[-1][1] = int(m[1])
    elif (m := re.search(r'stripe \d+ devid (\d+) offset (\d+)', line)) and chunks:
        chunks[-1][2].append(int(m[2]))

used = [False] * (size // sector)
for line in dump('dev'):
    if m := re.search(r'key \(\d+ DEV_EXTENT (\d+)\)', line):
        start = int(m[1])
    elif m := re.search(r'chunk_offset \d+ length (\d+)', line):
        for i in range(start // sector, (start + int(m[1])) // sector):
            used[i] = True
extents = []
for line in dump('extent'):
    if m := re.search(r'key \((\d+) (EXTENT_ITEM|METADATA_ITEM) (\d+)\)', line):
        extents.append((int(m[1]), int(m[3]) if m[2] == 'EXTENT_ITEM' else node))
if sys.argv[2:] == ['extents']:
    for logical, length, stripes in chunks:
        for start, count in extents:
            if logical <= start < logical + length:
                for stripe in stripes:
                    print(stripe + start - logical, count)
    sys.exit()
for logical, length, stripes in chunks:
    taken = [False] * (length // sector)
    for start, count in extents:
        if logical <= start < logical + length:
            for i in range((start - logical) // sector, (start - logical + count) // sector):
                taken[i] = True
    for stripe in stripes:
        used[stripe // sector:(stripe + length) // sector] = taken
for start, count in [(0, 1 << 20), (64 << 20, 65536), (256 << 30, 65536)]:
    for i in range(start // sector, min((start + count) // sector, len(used))):
        used[i] = True

first = None
for i in range(len(used) + 1):
    free = i < len(used) and not used[i]
    if free and first is None:
        first = i
    if not free and first is not None:
        print(first * sector, (i - first) * sector)
        first = None
