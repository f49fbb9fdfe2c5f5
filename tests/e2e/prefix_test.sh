#!/usr/bin/env bash
# prefix_test.sh LIBTORCH_ROOT: configures against dependencies in a prefix of its own, as users without root have them, and looks into
# CMake's cache and compile commands that each one comes from there. The prefix is made of links to Debian's packages.
set -euo pipefail
source_dir=$(cd "$(dirname "$0")/../.." && pwd)
torch=$1
arch=$(uname -m)-linux-gnu
hdf5=/usr/lib/$arch/hdf5/openmpi
if [ ! -d "/usr/lib/$arch/cmake/fmt" ] || [ ! -d "$hdf5" ]; then
  echo "skipped: the links are made for Debian's layout, which is not here"
  exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prefix=$work/deps

# link TARGET_FOLDER FILES...: links to files that exist.
link() { local to=$prefix/$1; shift; mkdir -p "$to"; for file in "$@"; do [ -e "$file" ] && ln -sf "$file" "$to/"; done; return 0; }
link include /usr/include/{fmt,spdlog,toml++,nlohmann,boost,xxhash.h,xxh3.h,zlib.h,zconf.h,jpeglib.h,jmorecfg.h,jerror.h,png.h,pngconf.h,pnglibconf.h} /usr/include/"$arch"/jconfig.h "$hdf5"/include/*.h
link "lib/$arch" /usr/lib/"$arch"/lib{fmt,spdlog,boost_program_options,z,jpeg,png,png16}.*
link "lib/$arch/cmake" /usr/lib/"$arch"/cmake/{fmt,spdlog,tomlplusplus,Boost*,boost*}
link share/cmake /usr/share/cmake/nlohmann_json
link lib "$hdf5"/lib/libhdf5*.so*
mkdir -p "$prefix/bin" "$prefix/libtorch"
ln -s "$torch/include" "$torch/lib" "$prefix/libtorch/"
cat > "$prefix/bin/h5pcc" <<WRAPPER
#!/bin/sh
flags="-I$prefix/include -L$prefix/lib"
case "\$*" in
  *-showconfig*) echo "HDF5 Version: 1.10"; echo "Parallel HDF5: yes";;
  *-show*) echo mpicc \$flags -lhdf5 -Wl,-rpath -Wl,$prefix/lib;;
  *) exec mpicc \$flags "\$@" -lhdf5;;
esac
WRAPPER
chmod +x "$prefix/bin/h5pcc"

cmake -S "$source_dir" -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_PREFIX_PATH="$prefix" -DLibTorch_ROOT="$prefix/libtorch" \
  -DDISSENT_CUDA=OFF -DDISSENT_UNITY=OFF -DDISSENT_BUILD_TESTS=OFF -DDISSENT_BUILD_BENCH=OFF > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }

failures=0
cache=$work/build/CMakeCache.txt
# from_prefix VARIABLE: its value begins with the prefix.
from_prefix() {
  local value
  value=$(sed -n "s/^$1:[A-Z]*=//p" "$cache")
  if [ "${value#"$prefix"/}" = "$value" ]; then
    echo "FAILED: $1 is '$value', not in $prefix"
    failures=$((failures + 1))
  fi
}
for variable in fmt_DIR FMT_INCLUDE_DIR spdlog_DIR tomlplusplus_DIR nlohmann_json_DIR Boost_DIR boost_program_options_DIR XXHASH_INCLUDE_DIR \
  ZLIB_INCLUDE_DIR ZLIB_LIBRARY_RELEASE JPEG_INCLUDE_DIR JPEG_LIBRARY_RELEASE PNG_PNG_INCLUDE_DIR PNG_LIBRARY_RELEASE HDF5_C_COMPILER_EXECUTABLE HDF5_C_LIBRARY_hdf5 \
  LibTorch_INCLUDE_DIR LibTorch_API_INCLUDE_DIR LibTorch_CPU_LIBRARY LibTorch_C10_LIBRARY; do
  from_prefix "$variable"
done
if [ "$(readlink "$work/build/generated/fmt")" != "$prefix/include/fmt" ]; then
  echo "FAILED: generated/fmt leads to $(readlink "$work/build/generated/fmt")"
  failures=$((failures + 1))
fi
# What the compiler and the linker are told, too: the parallel HDF5 of the prefix and no other.
rules=$work/build/build.ninja
if grep -q "$hdf5/" "$rules" || ! grep -q "$prefix/lib/libhdf5.so" "$rules"; then
  echo "FAILED: build.ninja does not link the prefix' HDF5, or links the system's"
  failures=$((failures + 1))
fi
# And one file, which needs fmt alone, compiles with it.
object=src/CMakeFiles/dissent_config.dir/config/errors.cpp.o
if ! CCACHE_DISABLE=1 ninja -C "$work/build" "$object" > "$work/log" 2>&1; then
  cat "$work/log"
  failures=$((failures + 1))
elif ! grep -q "$work.*/fmt/" <(ninja -C "$work/build" -t deps "$object"); then
  echo "FAILED: $object was compiled with another fmt"
  failures=$((failures + 1))
fi
[ "$failures" = 0 ] && echo "every dependency comes from the prefix"
exit "$failures"
