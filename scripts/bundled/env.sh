# shellcheck shell=bash
# env.sh: sets up this bundle with `. PLACE/env.sh` in bash: LibTorch, the folders of Open MPI, PATH. bin/dissent, bin/mpirun and bin/orted do this
# themselves. LibTorch is taken from a Python with the torch version of the build (share/dissent/bundle.json); nothing is imported.
#   DISSENT_TORCH   another python, or a LibTorch folder (with lib/libtorch_cpu.so); default: python3 of VIRTUAL_ENV or CONDA_PREFIX, then of PATH

# Prints the version and the folder of a python's torch.
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

# Prints libraries of the program that are found neither in these folders nor in the system.
_dissent_missing() {
  LD_LIBRARY_PATH=$1 LD_TRACE_LOADED_OBJECTS=1 "$2/libexec/dissent/dissent-compute" 2>&1 | grep -E 'not found|error while loading|No such file' || true
}

_dissent_bundle_environment() {
  local root=$1 built_with='@torch@' needs='@glibc@' given=${DISSENT_TORCH:-} python='' found='' version='' torch='' folders='' missing=''
  case $root in *:*) echo "dissent bundle: expected a path without a colon, found $root" >&2; return 1 ;; esac
  # Already done by a parent process, which may have been on another node.
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
      echo "dissent bundle: $python has no torch; expected torch $built_with (pip install torch==$built_with). DISSENT_TORCH selects another python or a LibTorch folder" >&2
      return 1
    fi
    found=$(printf '%s\n' "$found" | tail -n 2)
    version=${found%%$'\n'*}
    if [ "$version" != "$built_with" ]; then
      echo "dissent bundle: expected torch $built_with, found $version in $python. DISSENT_TORCH selects another python, or a LibTorch folder, whose version is not checked" >&2
      return 1
    fi
    torch=${found#*$'\n'}
  fi
  if [ ! -e "$torch/lib/libtorch_cpu.so" ]; then echo "dissent bundle: LibTorch: expected $torch/lib/libtorch_cpu.so, found no such file" >&2; return 1; fi
  # CUDA's libraries from the wheel are next to it.
  folders=$({ echo "$torch/lib"; find "$(dirname "$torch")/nvidia" -mindepth 2 -maxdepth 2 -name lib 2>/dev/null | grep -E '/(cu[0-9]+|nccl|cudnn)/lib$' | sort; } | paste -s -d : -)

  # Use the bundle's compiler libraries only if the system's are older or missing.
  local path=$folders${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  missing=$(_dissent_missing "$path" "$root")
  if [ -n "$missing" ]; then
    path=$folders:$root/lib/compiler${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    missing=$(_dissent_missing "$path" "$root")
  fi
  if [ -n "$missing" ]; then
    printf 'dissent bundle: the program cannot start here. It needs glibc %s or later and LibTorch %s; missing:\n%s\n' "$needs" "$built_with" "$missing" >&2
    return 1
  fi

  export DISSENT_BUNDLE=$root DISSENT_BUNDLE_TORCH=$folders LD_LIBRARY_PATH=$path PATH=$root/bin:$PATH
  # The folders of Open MPI and PMIx, which would otherwise be those of the build machine.
  export OPAL_PREFIX=$root OPAL_EXEC_PREFIX=$root OPAL_BINDIR=$root/bin OPAL_LIBDIR=$root/lib OPAL_PKGLIBDIR=$root/lib/openmpi
  export OPAL_DATADIR=$root/share OPAL_PKGDATADIR=$root/share/openmpi OPAL_SYSCONFDIR=$root/etc/openmpi
  export PMIX_PREFIX=$root/pmix PMIX_INSTALL_PREFIX=$root/pmix PMIX_LIBDIR=$root/pmix/lib PMIX_PKGLIBDIR=$root/pmix/lib/pmix
  export PMIX_DATADIR=$root/pmix/share PMIX_PKGDATADIR=$root/pmix/share/pmix PMIX_SYSCONFDIR=$root/etc/openmpi
  # hwloc's plugins (graphics cards, PCI) are not in the bundle, and those of the system may not fit. So this folder does not exist.
  export HWLOC_PLUGINS_PATH=$root/lib/hwloc
}

if [ -n "${BASH_VERSION:-}" ]; then
  _dissent_bundle_environment "$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
else
  echo "dissent bundle: env.sh is for bash" >&2
  false
fi
