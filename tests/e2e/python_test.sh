#!/usr/bin/env bash
# python_test.sh PROGRAM: the Python package, compiled and installed from a source distribution as users would, then tests/python on it. Caches,
# a trained ensemble and result rows of the program are made first, so that the package reads real files.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
if ! python=$(cd "$source_dir" && . scripts/lib.sh && python_environment); then
  echo "FAILED: build/python, which scripts/setup --tests makes, is not there and could not be made"
  exit 1
fi

# A copy without what other builds left behind: the source distribution is made from it and used apart from it.
mkdir -p tree/src
cp -r "$source_dir"/{CMakeLists.txt,LICENSE,include} tree/
cp -r "$source_dir"/src/{core,losses} tree/src/
left_out=(--exclude=python/native --exclude=python/build --exclude='*.egg-info' --exclude='*.so' --exclude=_build.py --exclude=__pycache__)
tar -c -C "$source_dir" "${left_out[@]}" python | tar -x -C tree
(cd tree/python && "$python" -c 'from setuptools import build_meta; build_meta.build_sdist("../..")') > log 2>&1 || { tail -n 20 log; exit 1; }
rm -rf tree
start=$SECONDS
# ccache, where there is one, does not look at the temporary folder's name.
PATH=/usr/lib/ccache:$PATH CCACHE_BASEDIR=${TMPDIR:-/tmp} CCACHE_NOHASHDIR=1 \
  "$python" -m pip install --no-build-isolation --no-deps --no-index --disable-pip-version-check --target site dissent-*.tar.gz > log 2>&1 ||
  { tail -n 40 log; exit 1; }
echo "pip install: $((SECONDS - start)) s"

image_set train_images 300 14
image_set test_images 200 14 300
cache 2 train train_images cache.shard_rows=128
cache 1 test test_images 'cache.dtype="bf16"'
expect_exit 0
cat > train.toml <<'TOML'
experiment = "py"
[data]
train = "train.cache"
batch_size = 50
[ensemble]
members = 3
hidden = 24
[loss.cross_entropy]
[training]
epochs = 2
TOML
for model in block_head mlp linear; do
  well 1 train train.toml --quiet --set "ensemble.model=\"$model\"" --set "output=\"runs/$model\""
  well 1 export runs/"$model"/*/*/checkpoint.h5 --output exported/"$model"
done
cat > evaluate.toml <<'TOML'
[evaluate]
experiment = "py"
runs = ["runs/*/*/*/checkpoint.h5"]
id = "test.cache"
predictors = ["ensemble", "soup"]
scores = []
metrics = ["accuracy"]
output = "rows"
TOML
well 1 evaluate evaluate.toml --quiet
[ "$failures" = 0 ] || finish

start=$SECONDS
PYTHONPATH=$work/site DISSENT_SOURCE_DIR=$source_dir DISSENT_TEST_FILES=$work PYTHONDONTWRITEBYTECODE=1 \
  "$python" -m unittest discover -s "$source_dir/tests/python" -t "$source_dir/tests/python" -v 2>&1 || failures=$((failures + 1))
echo "tests: $((SECONDS - start)) s"
finish
