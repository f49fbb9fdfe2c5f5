"""Derivatives by finite differences, errors that name argument, expected and found, dtypes, and that every loss of the program is here."""
import inspect
import json
import unittest

import torch
from torch.autograd import gradcheck

import dissent
from dissent import losses
from reference import SOURCE_DIR

MEMBERS, BATCH, CLASSES = 3, 4, 5


def draw(*shape):
    return torch.randn(*shape, dtype=torch.double, requires_grad=True)


class Derivatives(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(7)
        self.logits = draw(MEMBERS, BATCH, CLASSES)
        self.labels = torch.tensor([0, 3, 1, 3])

    def test_of_the_logits(self):
        labels, source = self.labels, torch.softmax(draw(CLASSES).detach(), 0)
        functions = {
            "cross_entropy": lambda z: losses.cross_entropy(z, labels, 0.1),
            "logit_norm": lambda z: losses.logit_norm(z, labels, 0.5),
            "a2d": lambda z: losses.a2d(z, 1),
            "a2d hard": lambda z: dissent.A2DLoss()(logits=z, member=2),
            "divdis mi": lambda z: losses.divdis(z, "mi", "mean"),
            "divdis mi min_each": lambda z: losses.divdis(z, "mi", "min_each"),
            "divdis l1": lambda z: losses.divdis(z, "l1", "mean"),
            "adp": lambda z: losses.adp(z, labels),
            "oe": losses.oe,
            "kl_backward": lambda z: losses.kl_backward(z, source),
        }
        for name, function in functions.items():
            with self.subTest(name):
                self.assertTrue(gradcheck(function, self.logits))
        for kind in ("dot", "cosine", "expcosine", "iou", "logdet"):
            with self.subTest(kind):
                self.assertTrue(gradcheck(lambda z: losses.similarity(z, kind), self.logits))

    def test_of_ncl(self):
        """Its mean is a constant, so finite differences are taken of the closed form -sum |p - mean p|^2, whose derivative is the same."""
        def closed_form(z):
            deviations = torch.softmax(z, -1) - torch.softmax(z, -1).mean(0)
            return -deviations.square().sum((0, 2)).mean() / (MEMBERS * (MEMBERS - 1))

        torch.testing.assert_close(losses.ncl(self.logits), closed_form(self.logits))
        self.assertTrue(gradcheck(closed_form, self.logits))
        gradients = [torch.autograd.grad(function(self.logits), self.logits)[0] for function in (losses.ncl, closed_form)]
        torch.testing.assert_close(*gradients)

    def test_of_the_networks_under_saliency_losses(self):
        images, filters, weights = draw(MEMBERS, BATCH, 2, 5, 5), draw(MEMBERS, 3, 2), draw(MEMBERS, CLASSES, 3)

        def network(x, v, w):
            maps = torch.einsum("mkc,mbcxy->mbkxy", v, x).exp().log1p()
            return maps, torch.einsum("mlk,mbk->mbl", w, maps.tanh().mean((3, 4)))

        def gradcam(x, v, w, **options):
            maps, logits = network(x, v, w)
            return losses.gradcam(logits, self.labels, maps, **options)

        for options in ({"target": target, "activation": "none"} for target in ("gt_logit", "gt_prob", "alt_logits", "alt_probs")):
            with self.subTest(options):
                self.assertTrue(gradcheck(lambda v, w: gradcam(images.detach(), v, w, **options), (filters, weights)))
        for mode in ("gt", "sum", "max"):
            with self.subTest(mode):
                self.assertTrue(gradcheck(lambda v, w: losses.input_gradient(network(images, v, w)[1], self.labels, images, mode=mode), (filters, weights)))

    def test_of_dice(self):
        discriminator = dissent.Discriminator(CLASSES, 3, units=(4,), label_dim=2).double()
        features, parameters = draw(MEMBERS, BATCH, 3), discriminator.operator_parameters()
        self.assertTrue(gradcheck(lambda f, *p: losses.dice(losses.dice_pair_logits(p, f, self.labels, 0.2), 3.0), (features, *parameters)))
        rows = losses.roll_within_class(self.labels)
        self.assertEqual(rows.tolist(), [0, 3, 2, 1])
        joint, product = (discriminator.pair_logits(features, self.labels, partner) for partner in (None, rows))
        self.assertTrue(gradcheck(lambda a, b: losses.dice_discriminator_loss(a, b)[0], (draw(*joint.shape), draw(*product.shape))))
        torch.testing.assert_close(joint[1], discriminator(features[0], features[2], self.labels))
        torch.testing.assert_close(product[2], discriminator(features[1], features[2][rows], self.labels))


class Calls(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(1)
        self.labels = torch.tensor([0, 3, 1, 3])

    def refused(self, message, function, *args, **kwargs):
        with self.assertRaises(ValueError) as raised:
            function(*args, **kwargs)
        self.assertIn(message, str(raised.exception))

    def test_errors_name_argument_wanted_and_given(self):
        logits = draw(MEMBERS, BATCH, CLASSES)
        self.refused("ncl: logits: expected [M >= 2, B >= 1, C >= 1] of f32 or f64, found [1, 4, 5] Double cpu", losses.ncl, logits[:1])
        self.refused("adp: labels: expected [4] Long cpu, found [3] Long cpu", losses.adp, logits, self.labels[:3])
        self.refused("labels: expected class numbers 0 .. 4, found 0 .. 9", losses.adp, logits, torch.tensor([0, 1, 2, 9]))
        self.refused("a2d: m: expected 0 .. 2, found 3", losses.a2d, logits, 3)
        self.refused("gradcam: feature_maps: expected 3 tensors, found 2", losses.gradcam, logits, self.labels, [logits, logits])
        self.refused("gradcam: feature_maps: expected [4, K, H, W] Double cpu, found [4, 5] Double cpu", losses.gradcam, logits, self.labels, list(logits))
        self.refused("expected a tensor that requires gradients", losses.gradcam, logits, self.labels, torch.zeros(3, 4, 2, 5, 5, dtype=torch.double))
        maps = draw(3, 4, 2, 5, 5)
        self.refused("gradcam: feature_maps: expected a tensor that the logits depend on, found one that they do not", losses.gradcam, logits * 1, self.labels, maps)
        self.refused("similarity: expected one of dot, cosine, expcosine, iou, logdet, found 'euclid'", losses.similarity, logits, "euclid")
        self.refused("divdis: mode: expected one of mi, l1, found \"l2\"", losses.divdis, logits, "l2")
        self.refused("dice: pair_logits: expected [P >= 1, B >= 1]", losses.dice, logits)

    def test_classes_name_what_they_miss(self):
        self.refused("GradCAMDiversityLoss: feature_maps: expected it, found nothing", dissent.GradCAMDiversityLoss(), labels=self.labels, logits=draw(3, 4, 5))
        self.refused("DiceDiversityLoss: features: expected it, found nothing", dissent.DiceDiversityLoss(None), labels=self.labels, features=[])
        self.refused("A2DLoss: sample_weight: expected one of none, hard", dissent.A2DLoss, "soft")

    def test_a_second_derivative_that_is_not_there_is_an_error(self):
        logits = draw(3, 4, 5)
        with self.assertRaisesRegex(RuntimeError, "divdis: expected a first derivative only, found a request for a second derivative"):
            torch.autograd.grad(losses.divdis(logits), logits, create_graph=True)

    def test_half_precision_and_autocast(self):
        logits = torch.randn(3, 8, 10)
        expected = dissent.NCLDiversityLoss()(logits=logits)
        self.assertEqual(dissent.NCLDiversityLoss()(logits=logits.bfloat16()).dtype, torch.float32)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            self.assertEqual(dissent.NCLDiversityLoss()(logits=logits), expected)
            stats = torch.randn(3, 8, 10)
            inside = losses.similarity(stats, "iou")
        self.assertEqual(inside, losses.similarity(stats, "iou"))

    def test_a_member_is_drawn(self):
        logits, loss = torch.randn(5, 8, 10), dissent.A2DLoss(generator=torch.Generator().manual_seed(3))
        values = {round(loss(logits=logits).item(), 6) for _ in range(60)}
        self.assertEqual(values, {round(losses.a2d(logits, m).mean().item(), 6) for m in range(5)})

    def test_small_logits_draws_noise(self):
        images = torch.randn(4, 4, 2, 6, 6, dtype=torch.double)
        maps = (images * draw(4, 1, 2, 1, 1)).tanh()
        logits = torch.einsum("mlk,mbk->mbl", draw(4, CLASSES, 2), maps.mean((3, 4)))
        loss = dissent.GradCAMDiversityLoss(mode="small_logits")
        value = loss(labels=None, logits=logits, feature_maps=maps, features=None, images=None)
        expected = losses.gradcam(logits, None, maps, target="small_logits", noise=torch.zeros_like(logits))
        torch.testing.assert_close(value, expected)  # the noise is smaller than the gaps

    def test_outputs_that_saliency_maps_differentiate(self):
        """Those of SDDE's own test (tests/test_deed.py)."""
        labels = torch.tensor([3, 0, 2])
        logits = torch.tensor([[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]], [[0, -1, 2, -3], [4, -5, 6, -7], [8, -9, 10, -11]]]).float()
        expected = {"gt_logit": [[3, 4, 10], [-3, 4, 10]], "alt_logits": [[1, 6, 28 / 3], [1 / 3, -2, -4]], "small_logits": [[.5, 4.5, 8.5], [-2, -6, -10]]}
        for mode, outputs in expected.items():
            found = dissent.GradCAMDiversityLoss(mode=mode)._get_outputs(logits, labels)
            torch.testing.assert_close(found, torch.tensor(outputs).float().sum(1))
        probabilities = torch.tensor([[[.1, .4, .2, .3], [.4, .2, .2, .2], [0, 0, 1, 0]], [[.1, .2, .1, .6], [.8, 0, 0, .2], [0, 0, .8, .2]]])
        for mode, outputs in {"gt_prob": [1.7, 2.2], "alt_probs": [1.3 / 3, .8 / 3]}.items():
            found = dissent.GradCAMDiversityLoss(mode=mode)._get_outputs(probabilities.log(), labels)
            torch.testing.assert_close(found, torch.tensor(outputs))
        self.refused("mode: expected one of gt_logit", dissent.GradCAMDiversityLoss(mode="gt")._get_outputs, logits, labels)

    def test_every_loss_of_the_program_is_here(self):
        page = (SOURCE_DIR / "docs" / "losses.md").read_text()
        names = [line.removeprefix("## `").removesuffix("`") for line in page.splitlines() if line.startswith("## `")]
        self.assertGreaterEqual(len(names), 12)
        described = {loss["name"]: loss["operator"] for loss in json.loads(torch.ops.dissent.describe_losses())}
        self.assertEqual(list(described), names)
        for function in described.values():
            self.assertTrue(getattr(losses, function).__doc__, function)


class EveryLoss(unittest.TestCase):
    """The functions that are made from the table of losses."""

    def setUp(self):
        torch.manual_seed(3)
        self.labels, filters, weights = torch.tensor([0, 3, 1, 3]), draw(MEMBERS, 3, 2), draw(MEMBERS, CLASSES, 3)
        images = draw(MEMBERS, BATCH, 2, 5, 5)
        maps = torch.einsum("mkc,mbcxy->mbkxy", filters, images).exp().log1p()
        features = maps.tanh().mean((3, 4))
        logits = torch.einsum("mlk,mbk->mbl", weights, features)
        self.discriminator = dissent.Discriminator(CLASSES, 3, units=(4,), label_dim=2).double()
        self.given = {"logits": logits, "labels": self.labels, "drawn_member": 1, "feature_maps": maps, "images": images, "features": features,
                      "logit_noise": torch.randn_like(logits), "discriminator": self.discriminator.operator_parameters(),
                      "unlabelled_logits": draw(MEMBERS, BATCH, CLASSES)}
        self.leaves = (filters, weights)

    def call(self, loss, **options):
        arguments = {argument["name"]: self.given[argument["name"]] for argument in loss["arguments"]}
        return getattr(losses, loss["operator"])(**arguments, **options)

    def test_is_a_scalar_with_a_gradient_at_every_choice(self):
        for loss in json.loads(torch.ops.dissent.describe_losses()):
            variants = [{}] + [{option["name"]: choice} for option in loss["options"] for choice in option["choices"]]
            for options in variants:
                with self.subTest(loss["operator"], options=options):
                    value = self.call(loss, **options)
                    self.assertEqual((value.shape, value.dtype), (torch.Size([]), torch.double))
                    found = torch.autograd.grad(value, (*self.leaves, self.given["unlabelled_logits"]), retain_graph=True, allow_unused=True)
                    self.assertTrue(any(gradient is not None and gradient.isfinite().all() and gradient.abs().max() > 0 for gradient in found))

    def test_is_the_mean_of_the_function_per_sample(self):
        logits, features, maps, images = (self.given[name] for name in ("logits", "features", "feature_maps", "images"))
        other = self.given["unlabelled_logits"]
        pairs = {
            "cross_entropy": (losses.cross_entropy_loss(logits, self.labels, 0.1), losses.cross_entropy(logits, self.labels, 0.1).mean()),
            "logit_norm": (losses.logit_norm_loss(logits, self.labels, tau=0.5), losses.logit_norm(logits, self.labels, 0.5).mean()),
            "adversarial_cross_entropy": (losses.adversarial_cross_entropy(logits, self.labels), losses.cross_entropy(logits, self.labels).mean()),
            "a2d": (losses.a2d_loss(logits, 1), losses.a2d(logits, 1).mean()),
            "a2d hard": (losses.a2d_loss(logits, 1, self.labels, sample_weight="hard"), dissent.A2DLoss("hard")(logits=logits, labels=self.labels, member=1)),
            "gradcam": (losses.gradcam_loss(logits, maps, self.labels, crop=0), losses.gradcam(logits, self.labels, maps, crop=0)),
            "input_gradient": (losses.input_gradient_loss(logits, images, mode="sum"), losses.input_gradient(logits, None, images, mode="sum")),
            "dice": (losses.dice_loss(features, self.labels, self.discriminator.operator_parameters(), tau=3.0),
                     losses.dice(self.discriminator.pair_logits(features, self.labels), 3.0)),
            "kl_backward": (losses.kl_backward_loss(logits, other), losses.kl_backward(other, losses.mean_prediction(logits))),
        }
        for name, (found, expected) in pairs.items():
            with self.subTest(name):
                torch.testing.assert_close(found, expected)

    def test_signatures_and_documentation(self):
        self.assertEqual(str(inspect.signature(losses.adp)).split(" -> ")[0].replace("torch.", ""), "(logits: Tensor, labels: Tensor, alpha: float = 2.0, beta: float = 0.5)")
        self.assertEqual(list(inspect.signature(losses.divdis).parameters), ["logits", "mode", "reduction"])
        self.assertEqual([list(inspect.signature(function).parameters) for function in (losses.ncl, losses.oe)], [["logits"], ["logits"]])
        self.assertIn("Pang et al.", losses.adp.__doc__)
        self.assertEqual(losses.adp.__name__, "adp")

    def test_wrong_arguments(self):
        logits = self.given["logits"]
        with self.assertRaisesRegex(TypeError, r"adp\(\): missing a required argument: 'labels'"):
            losses.adp(logits)
        with self.assertRaisesRegex(ValueError, "adp: beta: expected a finite number >= 0, found -1.0"):
            losses.adp(logits, self.labels, beta=-1)
        with self.assertRaisesRegex(ValueError, "a2d: labels: expected it, found nothing"):
            losses.a2d_loss(logits, 1, sample_weight="hard")


if __name__ == "__main__":
    unittest.main()
