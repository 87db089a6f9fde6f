"""The parts of the student: divergences, decoder, losses, adapters."""

import numpy as np
import pytest
import torch

import tiny_models
from tracedge.attention import BlockCall, block_probabilities, record_attention
from tracedge.backbones import load_backbone
from tracedge.divergence import attention_boundary_divergence
from tracedge.errors import CheckpointError, SettingsError
from tracedge.student.adapters import adapter_state, add_adapters, merge_adapter_state, projections
from tracedge.student.decoder import DecoderConfig, EdgeDecoder
from tracedge.student.divergences import opposite_divergence
from tracedge.student.losses import cross_entropy, dice_loss, reconstruction_loss
from tracedge.student.network import Student, read_attention, read_until_last
from tracedge.student.reading import Reading, blocks_of_values
from tracedge.training_state import TrainingState

KINDS = pytest.mark.parametrize("kind", tiny_models.KINDS)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# --- divergences ------------------------------------------------------------------------------------------------------


def test_for_weak_attention_it_is_abdiv_to_second_order():
    query, key = 0.02 * draw(1, 1, 30, 4), draw(1, 1, 30, 4, seed=1)
    call = BlockCall("block", query, key, key, 1.0, None, slice(0, 30), (5, 6))
    exact = attention_boundary_divergence(block_probabilities(call, slice(0, 30)), (5, 6))
    ours = opposite_divergence(query, key, (5, 6)).sum(dim=1)
    torch.testing.assert_close(ours, exact, rtol=0.1, atol=1e-6)


def test_transposing_the_picture_swaps_down_and_right():
    query, key = draw(2, 3, 12, 4).unflatten(2, (3, 4)), draw(2, 3, 12, 4, seed=1).unflatten(2, (3, 4))
    there = opposite_divergence(query.flatten(2, 3), key.flatten(2, 3), (3, 4))
    turned = opposite_divergence(
        query.transpose(2, 3).flatten(2, 3), key.transpose(2, 3).flatten(2, 3), (4, 3)
    ).transpose(2, 3)
    torch.testing.assert_close(turned, torch.cat([there[:, 3:], there[:, :3]], dim=1))


def test_equal_queries_have_none_and_a_step_only_beside_it():
    query = torch.zeros(1, 1, 5, 8, 4)
    query[:, :, :, 4:] = 1.0
    apart = opposite_divergence(query.flatten(2, 3), draw(1, 1, 40, 4), (5, 8))
    assert apart[0, 0].max() == 0  # nothing changes downwards
    assert (apart[0, 1, :, 3:5] > 0).all()
    assert apart[0, 1, :, :3].max() == apart[0, 1, :, 5:].max() == 0


@KINDS
def test_every_backbone_gives_as_many_channels_whatever_the_size_of_the_picture(tiny_backbone, kind):
    backbone = tiny_backbone(kind)
    sides = (1, 2)
    seen = [read_attention(backbone, torch.zeros(1, backbone.space.channels, 8 * side, 8), 2)[0] for side in sides]
    assert seen[0].shape[1] == seen[1].shape[1] >= 2 * len(backbone.attention_blocks)
    assert seen[1].shape[2] == 2 * seen[0].shape[2]


@KINDS
def test_a_forward_that_ends_early_has_seen_the_same(tiny_backbone, kind):
    backbone = tiny_backbone(kind)
    latents = torch.randn(2, backbone.space.channels, 8, 12, generator=torch.Generator().manual_seed(0))
    whole, _ = read_attention(backbone, latents, 2)
    ended = []
    handle = backbone.network.register_forward_hook(lambda *_: ended.append(True))
    with torch.no_grad():
        early = read_until_last(backbone, latents, 2)
        assert torch.equal(early, whole)
        assert not ended
        backbone.denoise(latents, torch.zeros(2))  # the network is as it was
    handle.remove()
    assert ended


@KINDS
def test_what_is_read_are_divergences_and_values_of_every_block_asked_for(tiny_backbone, kind):
    backbone = tiny_backbone(kind)
    latents = draw(1, backbone.space.channels, 8, 8)
    names = backbone.attention_blocks
    with torch.no_grad(), record_attention(backbone, (8, 8), Reading(())) as taken:
        backbone.denoise(latents, torch.zeros(1))
    divergences = taken.result()
    with torch.no_grad(), record_attention(backbone, (8, 8), Reading(names[-1:])) as taken:
        backbone.denoise(latents, torch.zeros(1))
    both = taken.result()
    assert both.shape[1] > divergences.shape[1] >= 2 * len(names)
    assert torch.equal(both[:, : divergences.shape[1]], divergences)
    assert both[:, divergences.shape[1] :].std() > 0


@pytest.mark.parametrize("count", [1, 2, 6, 9])
def test_blocks_of_values_are_spread_and_end_with_the_last(count):
    names = [str(number) for number in range(9)]
    chosen = blocks_of_values(names, count)
    places = [names.index(name) for name in chosen]
    assert len(set(chosen)) == count and chosen[-1] == "8"
    assert max(np.diff([-1, *places])) - min(np.diff([-1, *places])) <= 1
    assert blocks_of_values(names[:1], count) == ("0",)


# --- decoder ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hw", [(16, 24), (17, 23), (8, 64)])
def test_the_decoder_answers_at_the_pictures_size(hw):
    decoder = EdgeDecoder(DecoderConfig(channels=6, width=8))
    assert decoder(torch.rand(2, 6, 4, 6), torch.rand(2, 3, *hw)).shape == (2, 1, *hw)


def test_the_decoder_is_as_light_as_it_says():
    size = sum(weight.numel() * 4 for weight in EdgeDecoder(DecoderConfig(channels=60)).parameters())
    assert 0.2e6 < size < 0.35e6


def test_a_standardised_reading_has_mean_zero_and_deviation_one():
    reading = torch.rand(4, 3, 8, 8) * torch.tensor([0.1, 1.0, 1e3])[:, None, None]
    decoder = EdgeDecoder(DecoderConfig(channels=3, width=8))
    decoder.standardise(reading)
    seen = []
    decoder.tokens[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    decoder(reading, torch.rand(4, 3, 16, 16))
    assert seen[0].mean(dim=(0, 2, 3)).abs().max() < 1e-4
    torch.testing.assert_close(seen[0].std(dim=(0, 2, 3)), torch.ones(3), rtol=1e-3, atol=0)


@pytest.mark.parametrize(("channels", "width"), [(0, 32), (4, 10), (4, 4)])
def test_a_decoder_that_cannot_be_is_refused(channels, width):
    with pytest.raises(SettingsError, match="decoder"):
        DecoderConfig(channels, width)


# --- losses -----------------------------------------------------------------------------------------------------------


def test_dice_against_a_hand_case():
    labels = torch.tensor([[[1, 0, -1, 1]]])
    logits = torch.logit(torch.tensor([[[[0.5, 0.5, 0.9, 0.25]]]]))
    expected = 1 - (2 * (0.5 + 0.25) + 1) / (0.25 + 0.25 + 0.0625 + 2 + 1)
    assert dice_loss(logits, labels).item() == pytest.approx(expected)


@pytest.mark.parametrize("loss", [dice_loss, cross_entropy])
def test_uncertain_pixels_give_no_gradient_and_a_perfect_answer_costs_nothing(loss):
    labels = torch.tensor([[[1, 0, -1, 0]]])
    logits = torch.tensor([[[[20.0, -20.0, 3.0, -20.0]]]], requires_grad=True)
    value = loss(logits, labels)
    value.backward()
    assert value.item() < 1e-4
    assert logits.grad[0, 0, 0, 2] == 0


def test_cross_entropy_weighs_edges_as_much_as_interior():
    labels = torch.tensor([[[1] + [0] * 99]])
    wrong_edge, wrong_interior = torch.full((2, 1, 1, 1, 100), -5.0)
    wrong_interior[..., :] = 5.0
    assert cross_entropy(wrong_edge, labels).item() == pytest.approx(cross_entropy(wrong_interior, labels).item())


def test_reconstruction_is_the_mean_squared_error():
    images = torch.zeros(1, 3, 2, 2)
    assert reconstruction_loss(images + 0.5, images).item() == pytest.approx(0.25)


# --- adapters ---------------------------------------------------------------------------------------------------------


def randomised(weights):
    with torch.no_grad():
        for number, weight in enumerate(weights):
            weight.copy_(0.05 * draw(*weight.shape, seed=number))


@pytest.fixture
def mini():
    return load_backbone("mini", device="cpu")


def test_adapters_begin_as_nothing_and_merge_to_the_same_output(mini):
    latents, clean = draw(1, 3, 32, 24), torch.zeros(1)
    plain = mini.denoise(latents, clean)
    weights = add_adapters(mini, rank=4)
    assert torch.equal(mini.denoise(latents, clean), plain)
    randomised(weights)
    adapted = mini.denoise(latents, clean)
    assert (adapted - plain).abs().max() > 1e-2
    merged = load_backbone("mini", device="cpu")
    merge_adapter_state(merged.network, adapter_state(mini.network))
    torch.testing.assert_close(merged.denoise(latents, clean), adapted, rtol=1e-4, atol=1e-4)


def test_adapters_of_another_network_are_refused(mini):
    other = load_backbone("mini", device="cpu")
    add_adapters(other, rank=2)
    state = adapter_state(other.network)
    name = next(iter(state))
    with pytest.raises(CheckpointError, match="does not fit"):
        merge_adapter_state(mini.network, {name.replace("blocks.0", "blocks.99"): state[name]})
    with pytest.raises(SettingsError, match="rank"):
        add_adapters(mini, rank=0)


def test_the_average_stands_in_only_inside_the_context(tmp_path):
    weight = torch.nn.Parameter(torch.ones(2))
    adam = torch.optim.AdamW([weight])
    state = TrainingState(tmp_path, [weight], torch.nn.Identity(), adam, ema=0.9, config=None, described="")
    state.average[0].zero_()
    with state.averaged():
        assert weight.sum() == 0
    assert weight.sum() == 2


@pytest.fixture(scope="module")
def own_copy(tiny_folder):
    """A tiny backbone for one test: adapters stay in it."""
    return lambda kind: load_backbone(tiny_folder(kind), device="cpu")


@KINDS
@pytest.mark.parametrize("term", ["dice", "reconstruction"])
def test_each_loss_alone_gives_the_adapters_of_every_family_a_gradient(own_copy, kind, term):
    backbone = own_copy(kind)
    layers = projections(backbone)
    weights = add_adapters(backbone, rank=2)
    assert len(weights) == 2 * len(layers) >= 6 * len(backbone.attention_blocks)
    randomised(weights)
    side = 4 * backbone.multiple_of
    images = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    reading, _ = read_attention(backbone, backbone.encode(images), 1)
    decoder = EdgeDecoder(DecoderConfig(reading.shape[1], width=8))
    logits, prediction = Student(backbone, decoder, detail=1, values=1)(images)
    if term == "dice":
        loss = dice_loss(logits, (images[:, 0] > 0.5).long())
    else:
        loss = reconstruction_loss(backbone.decode(prediction), images)
    loss.backward()
    moved = [weight for weight in weights if weight.grad is not None and weight.grad.abs().max() > 0]
    assert len(moved) > len(weights) / 4
    assert all(np.isfinite(weight.grad.norm().item()) for weight in moved)
