# Functions shared by the scripts in this folder. Source it; it sets `root`, the top of the tree, and changes to that folder.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

say() { printf '== %s\n' "$*"; }
fail() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# The torch version that requirements.txt pins.
pinned_torch() { sed -n 's/^torch==//p' "$root/requirements.txt"; }

# Prints the pythons that may have LibTorch, in the order of cmake/FindLibTorch.cmake.
python_candidates() {
  local prefix
  for prefix in "${VIRTUAL_ENV:-}" "$root/.venv" "${CONDA_PREFIX:-}"; do
    if [ -n "$prefix" ] && [ -x "$prefix/bin/python3" ]; then echo "$prefix/bin/python3"; fi
  done
  command -v python3 || true
}

# Prints the python with the pinned torch, or nothing. Reads torch/version.py, since importing torch takes seconds.
torch_python() {
  local python
  while read -r python; do
    if "$python" - "$(pinned_torch)" 2>/dev/null <<'PY'
import importlib.util, os, re, sys
spec = importlib.util.find_spec("torch")
text = open(os.path.join(os.path.dirname(spec.origin), "version.py")).read() if spec and spec.origin else ""
found = re.search(r"__version__\s*=\s*['\"]([0-9.]+)", text)
sys.exit(0 if found and found.group(1) == sys.argv[1] else 1)
PY
    then
      echo "$python"
      return
    fi
  done < <(python_candidates)
}

# Prints the folder of that torch (include/, lib/), or nothing.
torch_root() {
  local python
  python=$(torch_python)
  if [ -n "$python" ]; then "$python" -c 'import importlib.util, os; print(os.path.dirname(importlib.util.find_spec("torch").origin))'; fi
}

# Prints the python that runs tests/python: an environment in build/python with python/requirements-test.txt, based on the python that has torch. Creates it
# if it is missing or was created for other versions.
python_environment() {
  local base environment=$root/build/python made_for
  base=$(torch_python)
  if [ -z "$base" ]; then echo "no python has torch $(pinned_torch) (scripts/setup installs it)" >&2; return 1; fi
  made_for="$base $(torch_root) $(cat python/requirements-test.txt)"
  if [ "$(cat "$environment/made_for" 2>/dev/null)" != "$made_for" ]; then
    rm -rf "$environment"
    "$base" -m venv "$environment" >&2 || return 1
    dirname "$(torch_root)" > "$("$environment/bin/python3" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/torch.pth"
    "$environment/bin/python3" -m pip install --quiet --disable-pip-version-check -r python/requirements-test.txt >&2 || return 1
    printf '%s\n' "$made_for" > "$environment/made_for"
  fi
  echo "$environment/bin/python3"
}

# Prints the number of parallel compilations: one per core, with about 2 GiB of free memory each (within a container's limit).
build_jobs() {
  local cores memory_kib limit jobs
  cores=$(nproc)
  memory_kib=$(awk '/^MemAvailable/ {print $2}' /proc/meminfo)
  if [ -r /sys/fs/cgroup/memory.max ]; then
    limit=$(cat /sys/fs/cgroup/memory.max)
    if [ "$limit" != max ] && [ $((limit / 1024)) -lt "$memory_kib" ]; then memory_kib=$((limit / 1024)); fi
  fi
  jobs=$((memory_kib / (2 * 1024 * 1024)))
  if [ "$jobs" -gt "$cores" ]; then jobs=$cores; fi
  if [ "$jobs" -lt 1 ]; then jobs=1; fi
  echo "$jobs"
}
