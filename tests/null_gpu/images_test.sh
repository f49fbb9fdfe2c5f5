#!/usr/bin/env bash
# images_test.sh PROGRAM NULL_GPU_FOLDER [long]: training on images. Without `long` one configuration of each kind.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
which=${3:-short}

image_set images 150 28
# 5 batches, the last one short.
cat > lenet.toml <<'TOML'
[data]
kind = "images"
dataset = "mnist"
split = "test"
root = "images"
rows = ":110"
transform = "mnist_train"
batch_size = 25
[ensemble]
members = 3
model = "lenet"
[loss.cross_entropy]
[optimizer]
name = "sgd"
learning_rate = 0.05
momentum = 0.9
nesterov = true
[schedule]
name = "cosine"
per = "step"
minimum = 1e-6
TOML
# As SDDE trains: a batch a member, saliency maps on a common one.
gradcam=(lenet.toml --set loss.gradcam.weight=0.1)
small() { # MODEL SIDE: two batches of two images for two members
  echo lenet.toml --set "ensemble.model=$1" --set "data.transform=$2" --set data.rows=:4 --set data.batch_size=2 --set ensemble.members=2
}

budget lenet_gradcam 1 5 "${gradcam[@]}"
budget lenet_gradcam_f16_members 2 5 "${gradcam[@]}" --set training.precision=f16
# shellcheck disable=SC2046
budget resnet18_32 1 2 $(small resnet18_32x32 cifar10_train) --set loss.ncl.weight=0.1
# LibTorch refuses what has no deterministic algorithm.
on_gpu 1 train "${gradcam[@]}" --quiet --set runtime.device=cuda --set experiment=deterministic --set training.epochs=1 --set runtime.deterministic=true --set loss.a2d.weight=0.1 --set loss.dice.weight=0.1
if [ "$which" = long ]; then
  for precision in f32 tf32 bf16 f16; do budget "lenet_$precision" 1 5 "${gradcam[@]}" --set "training.precision=$precision"; done
  for loss in ncl adp dice input_gradient divdis a2d; do
    budget "lenet_$loss" 1 5 lenet.toml --set "loss.$loss.weight=0.1"
  done
  budget lenet_adversarial 1 5 lenet.toml --set loss.adversarial_cross_entropy.weight=1
  budget lenet_logit_norm 1 5 lenet.toml --set loss.logit_norm.weight=1
  budget lenet_oe 1 5 lenet.toml --set unlabelled.split=test --set unlabelled.rows=50:90 --set unlabelled.batch_size=20 --set loss.oe.weight=0.5
  budget lenet_same_batch 1 5 "${gradcam[@]}" --set data.same_batch=true
  budget lenet_multihead 1 5 "${gradcam[@]}" --set ensemble.model=lenet_multihead --set data.same_batch=true
  NULL_GPU_DEVICES=3 budget lenet_gradcam_members 3 5 "${gradcam[@]}"
  budget lenet_gradcam_data 2 5 "${gradcam[@]}" --set grid.members=1 --set grid.data=2
  # shellcheck disable=SC2046
  {
    # Its count of values over all ranks is read from the device.
    NULL_GPU_SCALAR=4096 budget resnet18_synchronised 2 2 $(small resnet18_32x32 cifar10_train) --set data.rows=:8 --set data.batch_size=4 --set grid.members=1 --set grid.data=2 --set training.batch_norm=synchronised
    budget resnet50_224 1 2 $(small resnet50 imagenet_train) --set training.precision=bf16
    budget deit3_small 1 2 $(small deit3_small_patch16_224 imagenet_train) --set training.precision=bf16
  }
fi
# With validation, where a rank has threads, and the checkpoint of the best epoch.
for ranks in 1 2; do on_gpu $ranks train "${gradcam[@]}" --quiet --set runtime.device=cuda --set "experiment=validated_$ranks" --set validation.rows=110: --set validation.batch_size=16 --set training.epochs=1 --set runtime.threads=2; done

# Stopped and resumed.
stopped resumed 3 "${gradcam[@]}"
stopped resumed 2 "${gradcam[@]}"
expect_text "event=resume folder=results/resumed/seed-42"
finish
