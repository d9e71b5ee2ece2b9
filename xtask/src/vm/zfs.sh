# Builds the modules of ZFS for the guest's kernel, and unpacks the programs that go with them. Installs nothing.
# Called with the directory that gets both, and the kernel's version.
set -eu
dir=$1 kernel=$2
. /etc/os-release
work=$dir/work
rm -rf "$work"
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/packages"
cd "$work"

# The machine's own sources, with the parts of the archive that ZFS is in.
keys=signed-by=/usr/share/keyrings/debian-archive-keyring.gpg
apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' | sort -u | while read -r uri name; do
    case $name in "$VERSION_CODENAME"*) echo "deb [$keys] $uri $name main contrib" ;; esac
    if [ "$name" = "$VERSION_CODENAME" ]; then echo "deb [$keys] $uri $name-backports main contrib"; fi
done > sources.list
apt() {
    command=$1
    shift
    "$command" -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache" -o APT::Sandbox::User=root -qq "$@"
}
apt apt-get update

# The newest version there is: an older one does not know this kernel.
version=$(apt apt-cache madison zfs-dkms | awk -F'|' '{ gsub(/ /, "", $2); print $2; exit }')
base=${kernel%-cloud-amd64}
cd packages
apt apt-get download "linux-headers-$kernel" "linux-headers-$base-common" "linux-kbuild-$base" "zfs-dkms=$version"
cd ..
for package in packages/*.deb; do dpkg-deb -x "$package" headers; done
sources=$work/headers/usr/src
sed -i "s#include /usr/src#include $sources#" "$sources/linux-headers-$kernel/Makefile"
# Types for tracing are of no use here, and their making needs one more program.
rm -f "$sources/linux-headers-$kernel/vmlinux"
mv "$sources"/zfs-[0-9]* zfs
cd zfs
./configure --disable-dependency-tracking --prefix=/usr --with-config=kernel \
    --with-linux="$sources/linux-headers-$base-common" --with-linux-obj="$sources/linux-headers-$kernel" > ../configure.log
make -j"$(nproc)" > ../make.log 2>&1 || { tail -5 ../make.log >&2; exit 1; }
for module in spl zfs; do strip -g -o "$dir/$module.ko" "module/$module.ko"; done

rm "$work"/packages/*.deb
cd "$work/packages"
libraries=$(apt apt-cache show "zfsutils-linux=$version" | sed -n 's/^Depends: //p' | tr ',' '\n' |
    awk -v version="(= $version)" 'index($0, version) { print $1 }')
for package in zfsutils-linux $libraries; do apt apt-get download "$package=$version"; done
for package in *.deb; do dpkg-deb -x "$package" "$dir/root"; done
rm -rf "$work"
