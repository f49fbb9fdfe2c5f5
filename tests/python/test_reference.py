"""Values and gradients of the losses are those of the methods' public implementations."""
import unittest

import torch

import dissent
from dissent import losses
from reference import ReferenceTest, cases


def head_logits(head, maps, inputs):
    """The heads of the gradcam cases' notes on maps [M, B, K, H, W]."""
    last = inputs["W2"].transpose(1, 2)
    if head == "pixel":
        return (inputs["W1"].unsqueeze(1) @ maps.flatten(3)).tanh().mean(-1) @ last
    if head == "pool":
        return torch.nn.functional.softplus(maps.mean((3, 4)) @ inputs["W1"].transpose(1, 2)) @ last
    assert head == "flatten"
    return maps.flatten(2) @ last


def discriminator_of(case):
    """A Discriminator with the case's parameters, which stay the leaves."""
    layers = range(len(case.params["units"]) + 1)
    discriminator = dissent.Discriminator(len(case["label_embedding"]), case["features"].shape[2], case.params["units"], case.params["label_dim"],
                                          case.params["leaky_slope"]).double()
    names = ["label_embedding", *(f"{kind}{layer}" for layer in layers for kind in "Wb")]
    places = ["label_embedder.weight", *(f"net.{2 * layer}.{kind}" for layer in layers for kind in ("weight", "bias"))]
    for name, place in zip(names, places):
        discriminator.get_parameter(place).data = case[name].detach().clone()
    return discriminator, dict(zip(names, places))


class References(ReferenceTest):
    def test_ncl(self):
        for case in cases("sdde_losses.h5", "ncl"):
            self.expect_value(case, dissent.NCLDiversityLoss()(labels=None, logits=case["logits"], feature_maps=None, features=None, images=None))

    def test_adp(self):
        for case in cases("sdde_losses.h5", "adp"):
            loss = dissent.ADPDiversityLoss(alpha=case.params["alpha"], beta=case.params["beta"])
            self.expect_value(case, loss(images=None, labels=case["labels"], logits=case["logits"], features=None, feature_maps=None))

    def test_oe(self):
        for case in cases("sdde_losses.h5", "oe"):
            self.expect_value(case, dissent.OEDiversityLoss()(None, None, case["logits"], None, None))

    def test_logit_norm(self):
        for case in cases("sdde_losses.h5", "logitnorm"):
            self.expect_value(case, dissent.LogitNormLoss(tau=case.params["tau"])(case["logits"], case["labels"]))

    def test_gradcam(self):
        for case in cases("sdde_losses.h5", "gradcam"):
            maps = case["feature_maps"]
            logits = head_logits(case.params["head"], maps, case.inputs)
            self.expect_output(case, "logits", logits)
            options = {"target": case.params["mode"], "activation": case.params["activation"], "noise": case.inputs.get("noise")}
            self.expect_output(case, "salience", losses.activation_maps(logits, case["labels"], maps, **options))
            value = losses.gradcam(logits, case["labels"], maps, crop=case.params["padding"], similarity=case.params["similarity"], **options)
            self.expect_value(case, value)

    def test_gradcam_with_a_list_of_maps(self):
        for case in cases("sdde_losses.h5", "gradcam"):
            if case.params["mode"] == "small_logits":
                continue  # the class draws its own noise
            maps = list(case["feature_maps"].unbind())
            logits = head_logits(case.params["head"], torch.stack(maps), case.inputs)
            loss = dissent.GradCAMDiversityLoss(mode=case.params["mode"], similarity=case.params["similarity"], padding=case.params["padding"],
                                                activation=case.params["activation"])
            self.expect_output(case, "salience", loss.get_salience_maps(None, case["labels"], logits, maps))
            self.expect_value(case, loss(labels=case["labels"], logits=logits, feature_maps=maps, features=None, images=None))

    def test_input_gradient(self):
        for case in cases("sdde_losses.h5", "inpgrad"):
            images = case["images"]
            logits = (images.flatten(2) @ case["W1"].transpose(1, 2)).tanh() @ case["W2"].transpose(1, 2)
            loss = dissent.InputGradientDiversityLoss(mode=case.params["mode"])
            value = loss(images=images, labels=case["labels"], logits=logits, features=None, feature_maps=None)
            gradients = loss.get_salience_maps(images, case["labels"], logits)
            self.assertEqual(gradients.shape, images.shape)
            torch.testing.assert_close(dissent.sdde.cosine_similarity(gradients), value)
            self.expect_value(case, value)

    def test_functions_of_common(self):
        functions = {"dot": lambda s: dissent.sdde.cosine_similarity(s, normalize=False), "cosine": dissent.sdde.cosine_similarity,
                     "expcosine": dissent.sdde.exp_cosine_similarity, "iou": dissent.sdde.iou_similarity, "logdet": dissent.sdde.neglogdet_similarity}
        for kind, function in functions.items():
            for case in cases("sdde_losses.h5", f"similarity_{kind}"):
                self.expect_value(case, function(case["stats"]))
        self.assertEqual(dissent.sdde.non_diag(torch.arange(9).reshape(1, 3, 3)).tolist(), [[[1, 2], [3, 5], [6, 7]]])

    def test_similarity(self):
        for kind in ("dot", "cosine", "expcosine", "iou", "logdet"):
            for case in cases("sdde_losses.h5", f"similarity_{kind}"):
                self.expect_value(case, losses.similarity(case["stats"], kind))

    def test_dice(self):
        for case in cases("sdde_losses.h5", "dice"):
            discriminator, _ = discriminator_of(case)
            features = list(case["features"].unbind())
            for network in (discriminator, lambda a, b, y: discriminator(a, b, y)):  # all pairs at once; pair by pair
                loss = dissent.DiceDiversityLoss(network, tau=case.params["tau"])
                self.expect_value(case, loss(images=None, labels=case["labels"], logits=None, features=features, feature_maps=None))

    def test_dice_pair_by_pair(self):
        for case in cases("sdde_losses.h5", "dice"):
            discriminator, _ = discriminator_of(case)
            loss, z = dissent.DiceDiversityLoss(discriminator, tau=case.params["tau"]), case["features"]
            pairs = [loss.pair_diversity(z[i], z[j], case["labels"]) for i in range(len(z)) for j in range(i + 1, len(z))]
            self.expect_value(case, sum(pairs) / len(pairs))

    def test_dice_discriminator_pair_by_pair(self):
        for case in cases("sdde_losses.h5", "dice_discriminator"):
            discriminator, _ = discriminator_of(case)
            z = case["features"]
            values, accuracies = zip(*[discriminator.pair_loss(z[i], z[j], case["labels"]) for i in range(len(z)) for j in range(i + 1, len(z))])
            self.expect_output(case, "value", sum(values) / len(values))
            self.assertAlmostEqual(float(sum(accuracies) / len(accuracies)), case.outputs["accuracy"].item(), delta=1e-6)

    def test_dice_discriminator(self):
        for case in cases("sdde_losses.h5", "dice_discriminator"):
            discriminator, places = discriminator_of(case)
            value, metrics = discriminator.loss(list(case["features"]), case["labels"])
            self.expect_output(case, "value", value)
            self.assertAlmostEqual(metrics["discriminator_accuracy"], case.outputs["accuracy"].item(), delta=1e-7)  # a mean of float32
            for name, wanted in case.gradients.items():
                gradient = torch.autograd.grad(value, discriminator.get_parameter(places[name]), retain_graph=True)[0]
                torch.testing.assert_close(gradient, wanted, rtol=case.rtol, atol=case.atol)

    def test_a2d(self):
        for case in cases("sed_losses.h5", "a2d"):
            value = losses.a2d(case["logits"], case.params["m"])
            if case.params["reduction"] == "mean":
                self.expect_value(case, dissent.A2DLoss()(logits=case["logits"], member=case.params["m"]))
            else:
                self.expect_output(case, "per_sample", value)
                self.expect_value(case, (value * case["cotangent"]).sum())

    def test_divdis(self):
        for case in cases("sed_losses.h5", "divdis"):
            self.expect_value(case, dissent.DivDisLoss(case.params["mode"], case.params["reduction"])(logits=case["logits"]))

    def test_hard_sample_weight(self):
        for case in cases("sed_losses.h5", "budget_modifier"):
            self.expect_output(case, "weight", dissent.hard_sample_weight(case["logits"], case["labels"]))


if __name__ == "__main__":
    unittest.main()
