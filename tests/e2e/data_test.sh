#!/usr/bin/env bash
# data_test.sh PROGRAM: bad data. Missing, incomplete, truncated, damaged or unfitting caches end with 3 and one message that says which file and
# what is wrong, before anything is written.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

image_set images 300 28
image_set small 300 14
cache 1 good images cache.shard_rows=100
expect_exit 0
cache 1 small small
cache 1 unknown images data.labels=false
cat > train.toml <<'TOML'
experiment = "bad"
[data]
train = "good.cache"
batch_size = 50
[ensemble]
members = 3
model = "mlp"
hidden = 16
[loss.cross_entropy]
TOML

# copy NAME: a copy of good.cache.
copy() { rm -rf "$1.cache"; cp -r good.cache "$1.cache"; }
# bad RANKS NAME TEXT...: training on NAME.cache is refused.
bad() {
  local ranks=$1 name=$2
  shift 2
  refused "$ranks" 3 "$@" -- train train.toml --set "data.train=$name.cache" --set "output=$name" --quiet
  if [ -e "$name" ]; then expect_nothing_half_written "$name"; fi
}

bad 3 missing "missing.cache: no such feature cache"
mkdir empty.cache
bad 1 empty "empty.cache: not a feature cache: expected manifest.toml, found none"
refused 1 3 "train.toml: expected an HDF5 file, found another" -- train train.toml --set data.train=train.toml

# A cache whose writer stopped after one shard says so, and the next `dissent cache` goes on with it.
copy stopped
awk '/^\[\[shard\]\]/ { shards++ } shards < 2' stopped.cache/manifest.toml > stopped.cache/manifest.toml.partial
rm stopped.cache/manifest.toml stopped.cache/shard-0000[12].h5
bad 3 stopped 'stopped.cache: incomplete: expected 3 shards, found 1; run `dissent cache` again to resume'
cache 2 stopped images cache.shard_rows=100
expect_exit 0
expect_text "event=cache_resumed path=stopped.cache shards=1/3"
diff -r good.cache stopped.cache > out || failed "the resumed cache differs from one written at once"
cache 2 stopped images cache.shard_rows=100
expect_text "event=cache_reused path=stopped.cache rows=300"
refused 2 2 "stopped.cache: expected a cache of this configuration, found another one: dim is 784 there, 196 here" "replace it with --force" -- \
  cache cache.toml --set cache.output=stopped.cache --set data.root=small
diff -r good.cache stopped.cache > out || failed "the refused command changed the cache"

# Images in folders: listed, cached from the list, refused by name where one is damaged.
mkdir -p photos/train/cat photos/train/ant
cp "$source_dir"/tests/data/images/{png_rgb.png,jpeg_444.jpg} photos/train/cat
cp "$source_dir"/tests/data/images/jpeg_420.jpg photos/train/ant/a.JPEG
well 2 imglist photos/train --root photos --output photos.txt
expect_text "event=list_written path=photos.txt images=3 classes=2"
printf 'ant\ncat\n' | diff - photos.classes.txt > out || failed "the class file of photos.txt"
printf 'train/ant/a.JPEG 0\ntrain/cat/jpeg_444.jpg 1\ntrain/cat/png_rgb.png 1\n' | diff - photos.txt > out || failed "the list of photos/train"
well 1 imglist photos/train/ant photos/train/cat --label -1 --output unknown.txt
expect_text "images=3"
[ "$(sort -u <(cut -d' ' -f2 unknown.txt))" = -1 ] || failed "labels of unknown.txt"
# The class in the file's name, as model-vs-human has it.
mkdir -p human/session-1
cp photos/train/cat/jpeg_444.jpg human/session-1/0001_sty_dnn_0_boat_10_cat.jpg
cp photos/train/cat/png_rgb.png human/session-1/0002_sty_dnn_0_bear_07_truck.png
well 1 imglist human --root human --class-field 5 --output human.txt
printf 'session-1/0002_sty_dnn_0_bear_07_truck.png 0\nsession-1/0001_sty_dnn_0_boat_10_cat.jpg 1\n' | diff - human.txt > out || failed "the list by parts of names"
refused 1 3 "expected its class as part 9 of its name" "found 7 parts" -- imglist human --class-field 9 --output none.txt
refused 1 2 "--class-field: expected an integer >= 0, found -1" -- imglist human --class-field -1 --output none.txt
refused 2 3 "photos/none: no such folder" -- imglist photos/none --output none.txt
refused 1 3 "photos/train/ant/a.JPEG: expected the image in a subfolder" -- imglist photos/train/ant --output none.txt
refused 1 2 "--output: expected the path of the list" -- imglist photos/train
refused 1 2 "--output: expected no class file photos.classes.txt, found one" -- imglist photos/train --label -1 --output photos.txt
# Folders are numbered, not the images in them: an empty class, and one whose files have another ending, are refused with counts, or rows of no image.
mkdir -p photos/val/{ant,bee,cat,.cache}
cp photos/train/cat/png_rgb.png photos/val/cat/
cp photos/train/cat/png_rgb.png photos/val/.cache/
cp photos/train/cat/png_rgb.png photos/val/bee/a.webp
refused 1 3 "found none in 2 of 3: ant (no files); bee (1 file with other suffixes: .webp 1)" -- imglist photos/val --root photos --output none.txt
well 1 imglist photos/val --root photos --allow-empty --output val.txt
expect_text "event=list_written path=val.txt images=1 classes=3" "event=files_skipped place=val.txt class=bee" "event=classes_without_images place=val.txt classes=2 of=3 first=ant"
[ "$(cat val.txt)" = "val/cat/png_rgb.png 2" ] || failed "val.txt is $(cat val.txt)"
# The numbers of the training list, whatever folders there are.
well 1 imglist photos/val --root photos --allow-empty --classes photos.classes.txt --output val_as_train.txt
[ "$(cat val_as_train.txt)" = "val/cat/png_rgb.png 1" ] || failed "val_as_train.txt is $(cat val_as_train.txt)"
expect_same photos.classes.txt val_as_train.classes.txt
[ ! -e none.txt ] || failed "a refused imglist left a list"
# Lists have the name of their file, in the text that an editor on Windows saves; labels are never cut, and 255 is no class.
printf '\357\273\277train/cat/png_rgb.png 0\r\ntrain/cat/png_rgb.png 1\r\n' > windows.txt
printf '[data]\nroot = "photos"\n' > pictures.toml
pictures=(cache pictures.toml --quiet)
well 1 "${pictures[@]}" --set data.list=windows.txt --set cache.output=windows.cache
well 1 inspect windows.cache
expect_text "windows/train"
for wrong in 4294967297 255; do
  printf 'train/cat/png_rgb.png 0\ntrain/cat/png_rgb.png %s\n' $wrong > wrong_$wrong.txt
done
refused 2 3 "wrong_4294967297.txt:2: label: expected -1 (unknown) or 0 .. 2147483646 (the largest label), found 4294967297" -- \
  "${pictures[@]}" --set data.list=wrong_4294967297.txt --set cache.output=wrong.cache
refused 2 3 "wrong_255.txt: labels: expected rows for each of the classes 0 .. 255" "found none for 254 of them" "data.ignore_label = 255" -- \
  "${pictures[@]}" --set data.list=wrong_255.txt --set cache.output=wrong.cache
refused 1 3 "wrong_255.txt:2: label: expected -1 (unknown) or 0 .. 1, found 255" -- \
  "${pictures[@]}" --set data.list=wrong_255.txt --set data.classes=2 --set cache.output=wrong.cache
well 1 "${pictures[@]}" --set data.list=wrong_255.txt --set data.ignore_label=255 --set cache.output=ignored.cache
expect_text "event=rows_left_out place=wrong_255.txt label=255 rows=1 of=2" "event=cache_written path=ignored.cache rows=1"
# A training and its evaluations number classes in the same way, or are refused; the sets are recorded under the names of their lists.
cat > folders.toml <<'TOML'
experiment = "folders"
[data]
kind = "images"
root = "photos"
transform = "mnist_train"
batch_size = 2
[validation]
batch_size = 2
[ensemble]
members = 2
[loss.cross_entropy]
TOML
folders=(train folders.toml --quiet)
refused 2 3 'folder/val: classes: expected the numbering of folder/train: class 1: expected "cat", found "bee" (2 classes there, 3 here)' -- \
  "${folders[@]}" --set data.dataset=folder --set data.allow_empty=true --set validation.split=val
refused 1 3 "found none in 2 of 3" -- "${folders[@]}" --set data.dataset=folder --set validation.split=val
refused 1 2 "validation: expected validation.list or validation.dataset, found neither: [data] reads a list" -- "${folders[@]}" --set data.list=photos.txt
refused 1 3 'val/test: classes: expected the numbering of photos/train' -- "${folders[@]}" --set data.list=photos.txt --set validation.list=val.txt
echo 'train/ant/a.JPEG 0' > ants.txt
refused 1 3 "windows.txt:2: label: expected -1 (unknown) or 0 .. 0, found 1" -- "${folders[@]}" --set data.list=ants.txt --set validation.list=windows.txt
expect_no_file results
well 2 "${folders[@]}" --set data.list=photos.txt --set validation.list=val_as_train.txt
expect_same photos.classes.txt results/folders/seed-42/classes.txt
grep -q 'train photos/train, 3 images, .* validation val_as_train/test, 1 images' results/folders/seed-42/provenance.json || failed "the names of the sets in provenance.json"
cat > of_folders.toml <<'TOML'
[evaluate]
runs = ["results/folders/*"]
output = "figures_of_folders"
[[evaluate.sets]]
name = "val"
role = "id"
list = "val.txt"
root = "photos"
[[evaluate.sets]]
name = "unknown"
list = "unknown.txt"
TOML
refused 1 3 'val/test: classes: expected the numbering of results/folders/seed-42/classes.txt: class 1: expected "cat", found "bee"' -- evaluate of_folders.toml --quiet
sed -i 's/val.txt/val_as_train.txt/' of_folders.toml
well 1 evaluate of_folders.toml --quiet
rm -r results
listed=(cache cache.toml --quiet --set data.dataset=photos --set data.list=photos.txt --set data.root=photos)
well 2 "${listed[@]}" --set cache.output=photos.cache
expect_text "event=cache_written path=photos.cache rows=3 dim=2001"
head -c 900 "$source_dir/tests/data/images/jpeg_444.jpg" > photos/train/cat/jpeg_444.jpg
refused 1 3 "photos/train/cat/jpeg_444.jpg: damaged: " -- "${listed[@]}" --set cache.output=damaged.cache

copy truncated
truncate -s 100000 truncated.cache/shard-00001.h5
bad 3 truncated "truncated.cache/shard-00001.h5: truncated: expected at least 314800 bytes for its 100 rows, found 100000"
refused 2 3 "truncated.cache/shard-00001.h5: truncated: expected at least" "--force replaces the cache" -- \
  cache cache.toml --quiet --set cache.output=truncated.cache --set data.root=images --set cache.shard_rows=100
well 3 cache cache.toml --quiet --force --set cache.output=truncated.cache --set data.root=images --set cache.shard_rows=100
expect_text "event=cache_written path=truncated.cache rows=300"
diff <(cd good.cache && sha256sum -- shard-*) <(cd truncated.cache && sha256sum -- shard-*) > out || failed "the cache that --force wrote anew differs"
copy shortened
truncate -s -1000 shortened.cache/shard-00001.h5
bad 1 shortened "shortened.cache/shard-00001.h5: expected an HDF5 file, found one that HDF5 cannot open: truncated file"
rm shortened.cache/shard-00001.h5
bad 1 shortened "shortened.cache/shard-00001.h5: expected this shard of the manifest, found none: No such file or directory"
head -c 400000 /dev/zero > shortened.cache/shard-00001.h5
bad 1 shortened "shortened.cache/shard-00001.h5: expected an HDF5 file, found another"
image_set tall 300 56
cache 1 wide tall cache.shard_rows=100
copy mixed
cp wide.cache/shard-00001.h5 mixed.cache/
bad 3 mixed "mixed.cache/shard-00001.h5: embed: expected D = 784, found 3136"

# Where a shard's bytes lie: two shards that differ in one label, and in one pixel (0 and 255 as f32 differ from the third byte on).
variant() { rm -rf variant "$1.cache"; cp -r images variant; damage "variant/t10k-$2-ubyte.gz" "$3" "$4"; cache 1 "$1" variant cache.shard_rows=100; }
variant pixel images-idx3 $((16 + 784 * 105)) '\377'
label=$(od -An -tu1 -j $((8 + 107)) -N 1 images/t10k-labels-idx1-ubyte.gz)
variant label labels-idx1 $((8 + 107)) "\\$(printf %o $(((label + 1) % 10)))"
pixel_at=$(($(first_difference good.cache/shard-00001.h5 pixel.cache/shard-00001.h5) - 2))
label_at=$(first_difference good.cache/shard-00001.h5 label.cache/shard-00001.h5)

# What values say is told of files without checksums; in ours, a changed value is damage.
copy undefined
unseal undefined.cache/shard-00001.h5
damage undefined.cache/shard-00001.h5 "$pixel_at" '\0\0\300\177'
bad 3 undefined "undefined.cache: row 105, column 0: expected a finite feature, found nan"
copy infinite
unseal infinite.cache/shard-00001.h5
damage infinite.cache/shard-00001.h5 "$pixel_at" '\0\0\200\177'
bad 1 infinite "infinite.cache: row 105, column 0: expected a finite feature, found inf"
copy range
unseal range.cache/shard-00001.h5
damage range.cache/shard-00001.h5 "$label_at" '\14\0\0\0'
bad 3 range "range.cache: label of row 107: expected 0 .. 9, found 12"
copy minus
unseal minus.cache/shard-00001.h5
damage minus.cache/shard-00001.h5 "$label_at" '\377\377\377\377'
bad 1 minus "minus.cache: label of row 107: expected 0 .. 9 (-1 means unknown, and labels are required here), found -1"
bad 1 unknown "data.train (unknown.cache): expected labelled rows, found none: every label is -1"

# Damage that no other check can see: checksums.
run_program 1 inspect --verify good.cache
expect_exit 0
expect_text "rows       300 (1 passes of 300)" "shard-00001.h5  rows 100 .. 199  xxh3:" "checksums correct"
copy flipped
damage flipped.cache/shard-00001.h5 "$((pixel_at + 4))" '\1'
refused 1 3 "flipped.cache/shard-00001.h5: embed: damaged: bytes " "of the file: expected xxh3:" ", found xxh3:" -- inspect --verify flipped.cache
run_program 1 inspect flipped.cache
expect_exit 0
bad 3 flipped "flipped.cache/shard-00001.h5: embed: damaged: bytes "
unseal flipped.cache/shard-00001.h5
refused 1 3 "flipped.cache/shard-00001.h5: damaged: expected checksum xxh3:" "found xxh3:" -- inspect --verify flipped.cache

# A checkpoint with one changed value is not gone on with, evaluated, exported or passed.
well 1 train train.toml --quiet --set output=whole
checkpoint=whole/bad/seed-42/checkpoint.h5
well 1 inspect --verify "$checkpoint"
expect_text "checksums correct: the metadata and "
value=$(($(stat -c %s "$checkpoint") / 6)) # weights come before what the optimiser keeps
damage "$checkpoint" "$value" "\\$(printf %o $((255 - $(od -An -tu1 -j "$value" -N 1 "$checkpoint"))))"
refused 1 3 "checkpoint.h5: " ": damaged: bytes " -- inspect --verify "$checkpoint"
refused 1 3 "checkpoint.h5: members/" ": damaged: bytes " -- export whole/bad/seed-42 --output exported
[ ! -e exported/ensemble.json ] || failed "a damaged checkpoint was exported"
for ranks in 1 2; do # nothing is left to train, and the file is not what exit code 0 would say
  refused $ranks 3 "checkpoint.h5: " ": damaged: bytes " -- train train.toml --quiet --set output=whole
done
printf '[evaluate]\nruns = ["whole/bad/seed-42"]\nid = "good.cache"\n' > evaluate.toml
refused 2 3 "checkpoint.h5: members/" ": damaged: bytes " -- evaluate evaluate.toml --quiet
long=(train train.toml --quiet --set output=halted --set training.epochs=100000)
"$program" "${long[@]}" > out 2> err & job=$!
for ((tries = 0; tries < 600; tries++)); do [ ! -e halted/bad/seed-42/progress.json ] || break; sleep 0.1; done
kill -USR1 "$job"
status=0; wait "$job" || status=$?
command="${long[*]}, stopped by USR1"
expect_exit 75
checkpoint=halted/bad/seed-42/checkpoint.h5
value=$(($(stat -c %s "$checkpoint") / 6))
damage "$checkpoint" "$value" "\\$(printf %o $((255 - $(od -An -tu1 -j "$value" -N 1 "$checkpoint"))))"
refused 2 3 "checkpoint.h5: members/" ": damaged: bytes " -- "${long[@]}"

# No file: refused at once, by every reader.
mkfifo pipe
refused 1 3 "pipe: expected a file, found a FIFO" -- inspect pipe
refused 1 3 "pipe: expected a file, found a FIFO" -- train train.toml --set data.train=pipe
printf 'include = ["/dev/zero"]\n' > endless.toml
refused 1 2 "cannot read /dev/zero: expected a file, found a character device" -- train endless.toml

# Sets that do not fit each other.
refused 1 3 "unknown.cache: label of row 0: expected 0 .. 9" -- train train.toml --set data.validation=unknown.cache
refused 3 3 "small.cache: expected 784 features per row, as good.cache has, found 196" -- train train.toml --set data.validation=small.cache
printf '3\n3\n' > twice.txt
refused 1 3 "twice.txt:2: expected each position once, found 3 also in line 1" -- train train.toml --set data.subset=twice.txt
printf '300\n' > outside.txt
refused 1 3 "outside.txt: expected positions of good.cache, found 300" -- train train.toml --set data.subset=outside.txt
expect_no_file results
well 1 train train.toml --quiet
cat > evaluate.toml <<'TOML'
[evaluate]
runs = ["results/bad/*"]
id = "good.cache"
output = "figures"
[[evaluate.sets]]
name = "unknown"
paths = ["unknown.cache"]
TOML
refused 3 3 "small.cache: expected 784 features per row, as in the training of results/bad/seed-42/checkpoint.h5, found 196" -- evaluate evaluate.toml --set evaluate.id=small.cache
refused 3 3 "nowhere/*: expected files or folders of this name or pattern, found none" -- evaluate evaluate.toml --set 'evaluate.sets=[{name="a",paths=["nowhere/*"]}]'
refused 1 3 "unknown.cache: label of row 0: expected 0 .. 9" -- evaluate evaluate.toml --set 'evaluate.sets=[{name="a",shift="covariate",paths=["unknown.cache"]}]'
refused 1 3 "undefined.cache: row 105, column 0: expected a finite feature, found nan" -- evaluate evaluate.toml --set evaluate.id=undefined.cache
refused 1 3 "good.cache/shard-00001.h5: not a checkpoint" -- evaluate evaluate.toml --set 'evaluate.runs=["good.cache/shard-00001.h5"]'
refused 1 2 "evaluate.weights: expected 3 values, one per member of results/bad/seed-42/checkpoint.h5, found 2" -- evaluate evaluate.toml --set 'evaluate.weights=[1,2]'
expect_no_file figures
well 2 evaluate evaluate.toml --quiet
expect_text "unknown (far)" "seed-42  ensemble   msp    0.5000"
finish
