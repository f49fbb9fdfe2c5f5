"""--device and --precision of the peers, with the values of bench_head_step, bench_image_step and bench_trunk."""
import contextlib
import sys

import torch

HALF = {"bf16": torch.bfloat16, "f16": torch.float16}


def add_arguments(parser, cpu, gpu):
    """cpu, gpu: the precisions supported there, f32 first."""
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=gpu, default="f32", help=f"on a CPU: {', '.join(cpu)}")
    parser.set_defaults(precisions_of_cpu=cpu)


def choose(args):
    """The device, with f32 set to IEEE f32 and tf32 to TF32 in products and convolutions. Ends the program if the device or the precision is not available."""
    if args.device == "cuda" and not torch.cuda.is_available():
        sys.exit("--device cuda: PyTorch finds no GPU")
    if args.device == "cpu" and args.precision not in args.precisions_of_cpu:
        sys.exit(f"--precision with --device cpu: expected one of {', '.join(args.precisions_of_cpu)}, found {args.precision}")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = args.precision == "tf32"
    return torch.device(args.device)


def synchronise(device):
    """Waits for the GPU, which computes asynchronously, before a time is read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def autocast(args):
    """Products in half precision, if requested."""
    half = HALF.get(args.precision)
    return torch.autocast(args.device, half) if half else contextlib.nullcontext()


def scaler(args):
    """The loss scale for f16; disabled for other precisions."""
    return torch.amp.GradScaler(args.device, enabled=args.precision == "f16")
