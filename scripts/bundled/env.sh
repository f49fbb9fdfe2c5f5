# shellcheck shell=bash
# env.sh: sets up this bundle, by `. PLACE/env.sh` in bash: LibTorch, Open MPI's places, PATH. bin/dissent, bin/mpirun and bin/orted do it
# themselves. LibTorch is that of a Python with the torch of the build (share/dissent/bundle.json); nothing is imported.
#   DISSENT_TORCH   another python, or a LibTorch folder (with lib/libtorch_cpu.so); default: python3 of VIRTUAL_ENV or CONDA_PREFIX, then of PATH

# Prints the version of the torch that a python has, and its folder.
_dissent_torch_of() {
  "$1" - <<'PYTHON'
import importlib.util, os, re, sys
sys.path = [path for path in sys.path if path]
spec = importlib.util.find_spec("torch")
if not spec or not spec.origin:
    sys.exit(1)
folder = os.path.dirname(spec.origin)
with open(os.path.join(folder, "version.py"), encoding="utf-8") as file:
    print(re.search(r"__version__\s*=\s*['\"]([0-9.]+[0-9])", file.read())[1])
print(folder)
PYTHON
}

# What the program needs and the system, with these folders first, does not have.
_dissent_missing() {
  LD_LIBRARY_PATH=$1 LD_TRACE_LOADED_OBJECTS=1 "$2/libexec/dissent/dissent-compute" 2>&1 | grep -E 'not found|error while loading|No such file' || true
}

_dissent_bundle_environment() {
  local root=$1 built_with='@torch@' needs='@glibc@' given=${DISSENT_TORCH:-} python='' found='' version='' torch='' folders='' missing=''
  case $root in *:*) echo "dissent bundle: a folder with a colon in its name cannot hold it: $root" >&2; return 1 ;; esac
  # Done by a parent process, which may have been on another node.
  if [ "${DISSENT_BUNDLE:-}" = "$root" ] && [ -n "${DISSENT_BUNDLE_TORCH:-}" ]; then
    case ":${LD_LIBRARY_PATH:-}:" in *":$DISSENT_BUNDLE_TORCH:"*) return 0 ;; esac
  fi

  if [ -n "$given" ] && [ -d "$given" ]; then
    torch=$(cd "$given" && pwd)
  else
    if [ -n "$given" ]; then
      python=$given
    elif [ -x "${VIRTUAL_ENV:-/nowhere}/bin/python3" ]; then
      python=$VIRTUAL_ENV/bin/python3
    elif [ -x "${CONDA_PREFIX:-/nowhere}/bin/python3" ]; then
      python=$CONDA_PREFIX/bin/python3
    else
      python=python3
    fi
    if ! found=$(_dissent_torch_of "$python" 2>&1); then
      if [ -n "$found" ]; then echo "${found##*$'\n'}" >&2; fi
      echo "dissent bundle: $python has no torch; expected torch $built_with (pip install torch==$built_with). DISSENT_TORCH names another python or a LibTorch folder" >&2
      return 1
    fi
    found=$(printf '%s\n' "$found" | tail -n 2)
    version=${found%%$'\n'*}
    if [ "$version" != "$built_with" ]; then
      echo "dissent bundle: expected torch $built_with, found $version of $python. DISSENT_TORCH names another python, or a LibTorch folder, whose version is not compared" >&2
      return 1
    fi
    torch=${found#*$'\n'}
  fi
  if [ ! -e "$torch/lib/libtorch_cpu.so" ]; then echo "dissent bundle: LibTorch: expected $torch/lib/libtorch_cpu.so, which is not there" >&2; return 1; fi
  # CUDA's libraries of the wheel lie beside it.
  folders=$({ echo "$torch/lib"; find "$(dirname "$torch")/nvidia" -mindepth 2 -maxdepth 2 -name lib 2>/dev/null | grep -E '/(cu[0-9]+|nccl|cudnn)/lib$' | sort; } | paste -s -d : -)

  # The compiler's libraries of the bundle only where the system's are older or not there.
  local path=$folders${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  missing=$(_dissent_missing "$path" "$root")
  if [ -n "$missing" ]; then
    path=$folders:$root/lib/compiler${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    missing=$(_dissent_missing "$path" "$root")
  fi
  if [ -n "$missing" ]; then
    printf 'dissent bundle: the program cannot start here. It needs a C library of glibc %s or later, and LibTorch %s; missing is:\n%s\n' "$needs" "$built_with" "$missing" >&2
    return 1
  fi

  export DISSENT_BUNDLE=$root DISSENT_BUNDLE_TORCH=$folders LD_LIBRARY_PATH=$path PATH=$root/bin:$PATH
  # Open MPI's and PMIx' places, all of which are compiled into them.
  export OPAL_PREFIX=$root OPAL_EXEC_PREFIX=$root OPAL_BINDIR=$root/bin OPAL_LIBDIR=$root/lib OPAL_PKGLIBDIR=$root/lib/openmpi
  export OPAL_DATADIR=$root/share OPAL_PKGDATADIR=$root/share/openmpi OPAL_SYSCONFDIR=$root/etc/openmpi
  export PMIX_PREFIX=$root/pmix PMIX_INSTALL_PREFIX=$root/pmix PMIX_LIBDIR=$root/pmix/lib PMIX_PKGLIBDIR=$root/pmix/lib/pmix
  export PMIX_DATADIR=$root/pmix/share PMIX_PKGDATADIR=$root/pmix/share/pmix PMIX_SYSCONFDIR=$root/etc/openmpi
  # hwloc's plugins (graphics cards, PCI) are not carried, and the system's may not fit: there is no such folder.
  export HWLOC_PLUGINS_PATH=$root/lib/hwloc
}

if [ -n "${BASH_VERSION:-}" ]; then
  _dissent_bundle_environment "$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
else
  echo "dissent bundle: env.sh is for bash" >&2
  false
fi
