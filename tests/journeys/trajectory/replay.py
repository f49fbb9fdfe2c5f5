#!/usr/bin/env python3
"""replay.py TRACE [--features FILE] [--images FOLDER] [--outliers FOLDER]: repeats the steps of `dissent train --trace` in PyTorch.

Plain PyTorch: autograd, torch.optim, torch.nn, torchvision for the pixels; nothing of Dissent but the file (docs/formats.md, "Traces"). The networks
and losses are written down here a second time, from the papers and releases of SED and SDDE. It says how far the trace is from PyTorch after the
first update and after the last, and in addition how far PyTorch is from itself when the initial weights are moved by one rounding.

--features   the HDF5 file that heads were trained on: the rows of the trace are read from it, and have to be what was fed
--images     folder of the IDX files that networks were trained on: torchvision makes the pixels anew from the draws of the trace
--outliers   the same for the images of [unlabelled]
"""
import argparse
import gzip
import math
import sys
import tomllib

import h5py
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

ONE_STEP = 1e-12  # of f64 after one update, of each tensor relative to its norm
TIMES_OF_ROUNDING = 2  # of the difference of PyTorch against itself, after all steps: the largest of
ROUNDINGS = 5  # repetitions with weights moved otherwise; fewer where fewer are enough. One alone may happen to stay close


# ---------------------------------------------------------------- networks
class BlockHead(nn.Module):
    """SED's member: second half of DeiT-3's last block on the class token, final norm, classifier."""

    def __init__(self, dim, hidden, classes):
        super().__init__()
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(dim, hidden), "fc2": nn.Linear(hidden, dim)})
        self.gamma_2 = nn.Parameter(torch.zeros(dim))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, classes)

    def forward(self, x):
        x = x + self.gamma_2 * self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))
        return self.head(self.norm(x))


class LeNet(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.block1 = nn.Sequential(nn.Conv2d(3, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2))
        self.block2 = nn.Sequential(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2))
        self.block3 = nn.Sequential(nn.Conv2d(16, 120, 5), nn.ReLU())
        self.classifier1 = nn.Linear(120, 84)
        self.fc = nn.Linear(84, classes)

    def forward(self, x):
        maps = self.block2(self.block1(x))
        features = F.relu(self.classifier1(self.block3(maps).flatten(1)))
        return self.fc(features), features, maps


class BasicBlock(nn.Module):
    def __init__(self, inputs, planes, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, planes, 3, stride, 1, bias=False), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False), nn.BatchNorm2d(planes)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != planes:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, planes, 1, stride, bias=False), nn.BatchNorm2d(planes))

    def forward(self, x):
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.shortcut(x))


class ResNet18(nn.Module):
    """For 32 x 32: a stem of 3 x 3 without pooling."""

    def __init__(self, classes):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64)
        inputs = 64
        for i, planes in enumerate((64, 128, 256, 512)):
            setattr(self, f"layer{i + 1}", nn.Sequential(BasicBlock(inputs, planes, 1 if i == 0 else 2), BasicBlock(planes, planes, 1)))
            inputs = planes
        self.fc = nn.Linear(512, classes)

    def forward(self, x):
        maps = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        features = self.layer4(maps).mean((2, 3))
        return self.fc(features), features, maps


class Discriminator(nn.Module):
    """DICE's: (features of two members, label) -> how sure it is that the two are of one image."""

    def __init__(self, tensors):
        super().__init__()
        self.label_embedder = nn.Embedding(*tensors[0].shape)
        layers = []
        for weight in tensors[1::2]:
            layers += [nn.Linear(weight.shape[1], weight.shape[0]), nn.LeakyReLU(0.2)]
        self.net = nn.Sequential(*layers[:-1])
        self.to(tensors[0].dtype)
        with torch.no_grad():
            for parameter, tensor in zip(self.parameters(), tensors, strict=True):
                parameter.copy_(tensor)

    def forward(self, one, other, labels):
        return self.net(torch.cat([one, other, self.label_embedder(labels)], 1)).squeeze(1)


# ---------------------------------------------------------------- losses
def pairs(members):
    return [(i, j) for i in range(members) for j in range(i + 1, members)]


def off_diagonal_mean(grams):  # [B, M, M]
    members = grams.shape[-1]
    return grams[:, ~torch.eye(members, dtype=torch.bool)].mean()


def a2d(logits, labels, drawn, hard):
    """Agree to disagree: of one drawn member against each other one, at the class that the latter predicts."""
    p = logits.softmax(-1)
    values = []
    for i in range(len(p)):
        if i == drawn:
            continue
        top = p[i].argmax(-1, keepdim=True)
        of_i, of_drawn = p[i].gather(1, top), p[drawn].gather(1, top)
        values.append(-torch.log(of_i * (1 - of_drawn) + of_drawn * (1 - of_i) + 1e-9).squeeze(1))
    value = torch.stack(values).mean(0)
    if hard:
        with torch.no_grad():
            hardness = F.cross_entropy(logits.mean(0), labels, reduction="none")
            weight = hardness / hardness.mean() ** 2
        value = value * weight
    return value.mean()


def gradcam(logits, maps, labels, options):
    assert options["target"] == "gt_logit" and options["activation"] == "relu" and options["similarity"] == "cosine", options
    saliency = []
    for z, f in zip(logits, maps):
        gradient = torch.autograd.grad(z.gather(1, labels[:, None]).sum(), f, create_graph=True)[0]
        saliency.append(F.relu((f * gradient.mean((2, 3), keepdim=True)).sum(1)))
    s = torch.stack(saliency)
    crop = options["crop"]
    if crop > 0:
        s = s[:, :, crop:-crop, crop:-crop]
    s = (s - s.mean((2, 3), keepdim=True)) / (s.std((2, 3), keepdim=True, correction=0) + 1e-6)
    s = s.flatten(2).transpose(0, 1)
    s = s / (torch.linalg.norm(s, dim=2, keepdim=True) + 1e-6)
    return off_diagonal_mean(s @ s.transpose(1, 2))


def ncl(logits):
    p = logits.softmax(-1)
    delta = (p - p.mean(0, keepdim=True).detach()).transpose(0, 1)
    return off_diagonal_mean(delta @ delta.transpose(1, 2))


def adp(logits, labels, options):
    members, rows, classes = logits.shape
    p = logits.softmax(-1)
    wrong = p[:, F.one_hot(labels, classes) == 0].view(members, rows, classes - 1).transpose(0, 1)
    wrong = wrong / (torch.linalg.norm(wrong, dim=2, keepdim=True) + 1e-6)
    grams = wrong @ wrong.transpose(1, 2) + 1e-5 * torch.eye(members, dtype=p.dtype)
    q = p.mean(0)
    return options["alpha"] * (q * (q + 1e-20).log()).sum(-1).mean() - options["beta"] * torch.logdet(grams).mean()


def dice(features, labels, discriminator, options):
    tau, values = options["tau"], []
    for i, j in pairs(len(features)):
        ratio = -torch.log(torch.exp(-F.logsigmoid(discriminator(features[i], features[j], labels))) - 1 + 1e-6)
        values.append((tau * torch.tanh(ratio / tau)).mean())
    return sum(values) / len(values)


def discriminator_loss(features, labels, discriminator):
    """Pairs of one image against pairs of two images of one class: each with the one before it in its class."""
    partner = torch.empty_like(labels)
    for label in labels.unique():
        places = (labels == label).nonzero().squeeze(1)
        partner[places] = places.roll(1)
    values = []
    for i, j in pairs(len(features)):
        joint = discriminator(features[i], features[j], labels)
        product = discriminator(features[i], features[j][partner], labels)
        values.append(-0.5 * (F.logsigmoid(joint).mean() + F.logsigmoid(-product).mean()))
    return sum(values) / len(values)


def oe(logits):
    return (logits.logsumexp(-1) - logits.mean(-1)).mean()


# ---------------------------------------------------------------- the trace, and what it was trained on
class Trace:
    def __init__(self, path):
        self.file = h5py.File(path)
        named = {name: self.file.attrs[name].decode() for name in ("format", "kind", "losses")}  # texts of fixed length are bytes to h5py
        assert named["format"] == "dissent-trace" and self.file.attrs["version"] == 2, path
        self.kind, self.losses = named["kind"], named["losses"].split()
        text = self.file["config"][()]
        self.config = tomllib.loads(text.decode() if isinstance(text, bytes) else text)
        self.steps = [self.file["steps"][name] for name in sorted(self.file["steps"])]

    def weights(self, when):
        """{"members/fc.weight": [M, ...]}"""
        found = {}

        def add(name, item):
            if isinstance(item, h5py.Dataset):
                found[name] = torch.from_numpy(item[()])
        self.file[when].visititems(add)
        return found


def tensor(step, name):
    return torch.from_numpy(step[name][()])


def idx_images(folder, part):
    with gzip.open(f"{folder}/{part}-images-idx3-ubyte.gz") as f:
        return np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, 28, 28)


def torchvision_pixels(images, batch, transform):
    """The network's inputs of the rows of a batch, by torchvision, from the draws of the trace."""
    from PIL import Image
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms import functional as V
    size, mean, std = {"mnist": (28, [0.5] * 3, [0.5] * 3),
                       "cifar10": (32, [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616])}[transform.split("_")[0]]
    draws = batch["draws"][()].tolist() if "draws" in batch else None
    made = []
    for place, row in enumerate(batch["rows"][()].tolist()):
        image = V.resize(Image.fromarray(images[row]).convert("RGB"), size, InterpolationMode.BILINEAR)
        if draws:
            top, left, height, width, mirrored = draws[place]
            if mirrored:
                image = V.hflip(image)
            image = V.crop(V.pad(image, 4), top, left, height, width)
        made.append(V.normalize(V.to_tensor(V.center_crop(image, size)), mean, std))
    return torch.stack(made)


# ---------------------------------------------------------------- steps
class Replay:
    """The training from given initial weights; state() is what the trace calls its weights."""

    def __init__(self, trace, weights, sources):
        self.trace, self.config, self.sources = trace, trace.config, sources
        self.count = len(next(tensor for name, tensor in weights.items() if name.startswith("members/")))
        self.dtype = next(iter(weights.values())).dtype
        self.members = nn.ModuleList(self.make_member(weights) for _ in range(self.count)).to(self.dtype)
        for m, member in enumerate(self.members):
            own = {name.split("/", 1)[1]: tensor[m] for name, tensor in weights.items() if not name.startswith("discriminator/")}
            for name in own:  # a float in the file
                if name.endswith("num_batches_tracked"):
                    own[name] = own[name].long()
            member.load_state_dict(own)
        o = self.config["optimizer"]
        decay = o["weight_decay"] if o["weight_decay"] != "auto" else 0.01 if o["name"] == "adamw" else 0.0
        if o["name"] == "adamw":
            self.optimizer = torch.optim.AdamW(self.members.parameters(), o["learning_rate"], (o["beta1"], o["beta2"]), o["epsilon"], decay)
        else:
            assert o["name"] == "sgd", o
            self.optimizer = torch.optim.SGD(self.members.parameters(), o["learning_rate"], o["momentum"], weight_decay=decay, nesterov=o["nesterov"])
        self.discriminator = None
        if "discriminator/0" in weights:
            count = sum(name.startswith("discriminator/") for name in weights)
            self.discriminator = Discriminator([weights[f"discriminator/{i}"] for i in range(count)])
            d = self.config["discriminator"]
            self.discriminator_optimizer = torch.optim.RMSprop(
                self.discriminator.parameters(), d["learning_rate"], momentum=d["momentum"],
                weight_decay=decay if d["weight_decay"] == "auto" else d["weight_decay"])
        self.updates = 0
        self.epoch_rates = set()

    def make_member(self, weights):
        e = self.config["ensemble"]
        classes = len(weights["members/head.bias" if self.trace.kind == "heads" else "members/fc.bias"][0])
        if self.trace.kind == "heads":
            assert e["model"] == "block_head", e
            hidden, dim = weights["members/mlp.fc1.weight"].shape[1:]
            return BlockHead(dim, hidden, classes)
        return {"lenet": LeNet, "resnet18_32x32": ResNet18}[e["model"]](classes)

    def state(self):
        found = {}
        stacks = [member.state_dict() for member in self.members]
        for name in stacks[0]:
            kind = "buffers" if name.split(".")[-1] in ("running_mean", "running_var", "num_batches_tracked") else "members"
            found[f"{kind}/{name}"] = torch.stack([stack[name].to(self.dtype) for stack in stacks])
        for i, parameter in enumerate(self.discriminator.parameters() if self.discriminator else []):
            found[f"discriminator/{i}"] = parameter.detach().clone()
        return found

    def weight(self, name, epoch):
        """Weight of a loss in an epoch (of updating ones)."""
        w = self.config["loss"][name]
        assert w["period"] == 1 and w["from_epoch"] == 0, w
        ramp = w["ramp_epochs"]
        return w["weight"] * (min(epoch / ramp, 1) if ramp > 0 else 1)

    def set_rate(self, step):
        """The learning rate by the schedule's formula; the trace has to have the same."""
        o, s, t = self.config["optimizer"], self.config["schedule"], self.config["training"]
        frozen = int(self.trace.kind == "heads" and t["frozen_first_epoch"])
        epoch = max(0, int(step.attrs["epoch"]) - frozen)
        at = epoch
        if s["name"] == "cosine":
            end = t["epochs"] if s["t_max_epochs"] == "auto" else s["t_max_epochs"]
            if s["per"] == "step":
                at = epoch + int(step.attrs["step"]) / self.steps_of_epoch()
            rate = s["minimum"] + (o["learning_rate"] - s["minimum"]) * (1 + math.cos(math.pi * at / end)) / 2
        else:
            assert s["name"] == "constant", s
            rate = o["learning_rate"]
        assert abs(rate - step.attrs["learning_rate"]) <= 1e-14, (rate, step.attrs["learning_rate"])
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return epoch

    def steps_of_epoch(self):
        return 1 + max(int(step.attrs["step"]) for step in self.trace.steps if step.attrs["epoch"] == 0)

    def run_heads(self, step):
        epoch = self.set_rate(step)
        x, labels, active = tensor(step, "x"), tensor(step, "labels"), tensor(step, "active").tolist()
        if self.sources.get("features") is not None:
            embed, known = self.sources["features"]
            rows = tensor(step, "rows").numpy()
            own = torch.from_numpy(embed[rows]).to(self.dtype)
            assert torch.equal(own, x) and np.array_equal(known[rows], labels.numpy()), "other rows were fed than the trace says"
            x = own
        logits = torch.stack([self.members[m](x) for m in active])
        losses = {}
        for name in self.trace.losses:
            options = self.config["loss"][name]
            if name == "cross_entropy":
                assert options["label_smoothing"] == 0, options
                losses[name] = sum(F.cross_entropy(z, labels) for z in logits) / len(active)
            else:
                assert name == "a2d", name
                losses[name] = a2d(logits, labels, int(step.attrs["drawn"]), options["sample_weight"] == "hard")
        if step.attrs["update"]:
            self.optimizer.zero_grad(set_to_none=True)
            sum(self.weight(name, epoch) * value for name, value in losses.items()).backward()
            self.optimizer.step()
        return losses

    def batch(self, step, group, set_name):
        x, images = tensor(step, f"{group}/x"), self.sources.get(set_name)
        if images is None:
            return x
        transform = self.config["data"]["transform"]
        if set_name == "outliers" and self.config["unlabelled"]["transform"] == "auto":
            transform = transform.replace("_train", "_test")
        made = torchvision_pixels(images, step[group], transform).to(self.dtype)
        assert torch.equal(made, x), f"pixels of {group} are not torchvision's: up to {(made - x).abs().max()} apart"
        return made

    def run_images(self, step):
        epoch = self.set_rate(step)
        same, outliers = self.config["data"]["same_batch"], "unlabelled" in step
        places = [0] * self.count if same else range(self.count)
        batches = {m: (self.batch(step, f"own/{m}", "images"), tensor(step, f"own/{m}/labels")) for m in set(places)}
        outputs = [member.train()(batches[place][0]) for member, place in zip(self.members, places)]
        losses = {"cross_entropy": sum(F.cross_entropy(out[0], batches[place][1]) for out, place in zip(outputs, places)) / self.count}
        others = [name for name in self.trace.losses if name != "cross_entropy"]
        labels = batches[0][1]
        if others and not (same and not outliers):
            drawn = int(step.attrs["drawn"])
            x, labels = (self.batch(step, "unlabelled", "outliers"), None) if outliers else batches[drawn]
            outputs = [member.eval()(x) for member in self.members]
        logits = torch.stack([out[0] for out in outputs])
        if labels is None:
            labels = logits.mean(0).argmax(1)
        for name in others:
            options = self.config["loss"][name]
            losses[name] = {"gradcam": lambda: gradcam([out[0] for out in outputs], [out[2] for out in outputs], labels, options),
                            "ncl": lambda: ncl(logits), "adp": lambda: adp(logits, labels, options),
                            "dice": lambda: dice([out[1] for out in outputs], labels, self.discriminator, options), "oe": lambda: oe(logits)}[name]()
        assert step.attrs["update"] and step.attrs["share"] == 1
        clip = self.config["training"]["clip_norm"]
        self.optimizer.zero_grad(set_to_none=True)
        sum(self.weight(name, epoch) * value for name, value in losses.items()).backward()
        if clip > 0:
            torch.nn.utils.clip_grad_norm_(self.members.parameters(), clip)
        if self.discriminator:
            learned = discriminator_loss([out[1].detach() for out in outputs], labels, self.discriminator)
        self.optimizer.step()
        if self.discriminator:
            self.discriminator_optimizer.zero_grad(set_to_none=True)
            learned.backward()
            if clip > 0:
                torch.nn.utils.clip_grad_norm_(self.discriminator.parameters(), clip)
            self.discriminator_optimizer.step()
        return losses

    def run(self, entry):
        return (self.run_heads if self.trace.kind == "heads" else self.run_images)(entry)


def largest(ours, theirs):
    """Largest difference of any tensor: norm of the difference, relative to its norm. (By single values AdamW's and RMSprop's epsilon would count:
    where a gradient is about 1e-8, its rounding becomes one of 1e-9 of the step.)"""
    return max(distance({name: ours[name]}, {name: theirs[name]}) for name in theirs if theirs[name].any() or ours[name].any())


def distance(ours, theirs):
    """Norm of the difference of all tensors, relative to their norm."""
    assert ours.keys() == theirs.keys(), ours.keys() ^ theirs.keys()
    square = lambda values: sum(value.double().square().sum().item() for value in values)
    return math.sqrt(square([ours[name].double() - theirs[name].double() for name in ours]) / square(theirs.values()))


def moved(weights, seed):
    """Each weight by one rounding, up or down."""
    generator = torch.Generator().manual_seed(seed)
    return {name: value if name.startswith("buffers/") else
            torch.nextafter(value, torch.where(torch.rand(value.shape, generator=generator) < 0.5, math.inf, -math.inf).to(value.dtype))
            for name, value in weights.items()}


def replay(trace, initial, sources):
    run, first, losses = Replay(trace, initial, sources), None, []
    for entry in trace.steps:
        losses.append(run.run(entry))
        if first is None and entry.attrs["update"]:
            first = run.state()
    return first, run.state(), losses


def check(path, sources):
    trace = Trace(path)
    initial = trace.weights("initial")
    exact = next(iter(initial.values())).dtype == torch.float64
    first, final, losses = replay(trace, initial, sources)
    rows_once(trace)
    noted = [abs(value.item() - of_trace) / max(abs(value.item()), 1e-300)
             for step, of_step in zip(trace.steps, losses) for value, of_trace in zip(of_step.values(), step["losses"][()])]
    one, end, roundings = largest(trace.weights("first"), first), distance(trace.weights("final"), final), []
    while len(roundings) < ROUNDINGS and end > TIMES_OF_ROUNDING * max(roundings, default=0):
        other = replay(trace, moved(initial, 1 + len(roundings)), dict(sources, images=None, outliers=None))[1]
        roundings.append(distance(other, final))
    if not roundings:  # the same bits: to be printed as well
        roundings = [distance(replay(trace, moved(initial, 1), dict(sources, images=None, outliers=None))[1], final)]
    rounding = max(roundings)
    shift = distance(final, initial)
    print(f"{path}: {'f64' if exact else 'f32'}, {len(trace.steps)} steps, weights moved by {shift:.2g} of their norm; after one update {one:.1e}; "
          f"losses within {max(noted):.1e}; at the end {end:.2e}, PyTorch against itself {rounding:.2e} ({end / rounding:.2f} times; {len(roundings)} of it)", flush=True)
    wrong = []
    if shift < 1e-4:
        wrong.append("nothing was learned: the comparison says nothing")
    if exact and one > ONE_STEP:
        wrong.append(f"after one update {one:.2e} > {ONE_STEP}")
    if end > TIMES_OF_ROUNDING * rounding:
        wrong.append(f"at the end {end:.2e} > {TIMES_OF_ROUNDING} x {rounding:.2e}")
    for text in wrong:
        print(f"FAILED: {path}: {text}")
    return not wrong


def rows_once(trace):
    """No row comes twice in an epoch, for any member, but where batches are balanced."""
    if trace.config["data"].get("sampler", "shuffled") != "shuffled":
        return
    seen = set()
    for step in trace.steps:
        for name in [""] if trace.kind == "heads" else [f"own/{m}/" for m in step["own"]]:
            for row in step[f"{name}rows"][()].tolist():
                key = (int(step.attrs["epoch"]), name, row)
                assert key not in seen, f"row {row} comes twice in epoch {key[0]}"
                seen.add(key)


def sources_of(features, images, outliers):
    sources = {}
    if features:
        with h5py.File(features) as f:
            sources["features"] = (f["embed"][()], f["label"][()].astype(np.int64).reshape(-1))
    if images:
        sources["images"] = idx_images(images, "train")
    if outliers:
        sources["outliers"] = idx_images(outliers, "t10k")
    return sources


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace")
    for option in ("--features", "--images", "--outliers"):
        parser.add_argument(option)
    arguments = parser.parse_args()
    sys.exit(0 if check(arguments.trace, sources_of(arguments.features, arguments.images, arguments.outliers)) else 1)
