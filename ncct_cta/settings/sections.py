"""One dataclass a section of the settings: the only home of a setting's name, type, default, range and meaning.

``python -m ncct_cta.settings`` prints all settings as a table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..common.keys import BODY, LUNG
from .declaration import Section, setting

SCHEDULES = ("cosine", "constant")


@dataclass(frozen=True)
class DataConfig(Section):
    """Which volumes, on which grid, in which HU window."""

    datalist: str = setting("./phantom", "case list (datalist.json) or folder of {case}_{ncct,cta,lung,vessel}.nii.gz")
    window: tuple[float, ...] = setting(
        (-1000.0, 600.0), "HU window scaled to [-1, 1]; must hold the CTA's vessels", low=-32768, high=32767
    )
    spacing: tuple[float, ...] | None = setting(
        None, "voxel size in mm to train on; null keeps each scan's own", low=0.1, high=100.0
    )
    patch_size: tuple[int, ...] = setting(
        (256, 256), "size of a training patch in voxels, 2 or 3 values", low=16, high=4096
    )
    augment: bool = setting(True, "random small rotations, scalings and shifts, the same for all of a case's images")
    augment_share: float = setting(0.5, "share of the patches that are moved so", low=0.0, high=1.0)
    augment_strength: float = setting(
        1.0, "how far: 1 turns by up to 5 degrees and scales by up to 10 %, 2 by twice as much", low=0.0, high=4.0
    )
    flip: bool = setting(
        False, "mirror half of the patches left to right: teaches that the heart may lie on either side"
    )
    vessel_share: float = setting(
        0.0, "share of the patches centred on a vessel; the others lie anywhere", low=0.0, high=1.0
    )
    virtual_share: float | None = setting(
        None,
        "share of the patches from virtual cases, if the list holds both kinds; null: all cases alike",
        low=0.0,
        high=1.0,
    )
    val_fraction: float = setting(0.15, "share of a folder's cases kept for validation", low=0.0, high=0.9)
    cache_dir: str = setting("", "where decompressed volumes are kept; empty: .ncct_cta_cache beside the data")
    cache_gb: float = setting(0.0, "largest size of that folder in GB; 0: no limit", low=0.0, high=1.0e6)
    cache_jobs: int = setting(
        0, "processes that fill that folder; 0: as many as cores and memory allow", low=0, high=1024
    )
    num_workers: int | None = setting(
        None,
        "processes that load training data beside the main one; null: up to 4 for a GPU, else none",
        low=0,
        high=256,
    )


@dataclass(frozen=True)
class ModelConfig(Section):
    """The generator G."""

    architecture: str = setting(
        "unet", "unet, basic_unet, unet_plus_plus, dynunet, or package.module.Class of your own"
    )
    spatial_dims: int = setting(2, "2: axial slices, 3: patches of the volume", choices=(2, 3))
    in_slices: int = setting(
        1, "2-D: axial slices that G sees as channels, the middle one being the one it predicts", choices=(1, 3, 5)
    )
    channels: tuple[int, ...] = setting((64, 128, 256, 512, 1024, 1024), "features per level", low=1, high=8192)
    num_res_units: int = setting(2, "residual units per level; 0: plain convolutions", low=0, high=32)
    norm: str = setting("instance", "normalisation layer", choices=("instance", "batch"))
    residual_output: bool = setting(True, "G predicts the change: coarse = clamp(x + net(x), -1, 1)")
    head: str = setting(
        "residual",
        "what the net returns: the change; or a gate and an amount whose product it is (gated)",
        choices=("residual", "gated"),
    )
    arguments: Mapping[str, Any] = setting({}, "keyword arguments of a class of your own, which takes no other setting")


@dataclass(frozen=True)
class LossConfig(Section):
    """The generator's reconstruction loss."""

    l1_weight: float = setting(1.0, "weight of the lung-weighted L1", low=0.0, high=1.0e6)
    ssim_weight: float = setting(0.2, "weight of 1 - SSIM", low=0.0, high=1.0e6)
    lung_weight: float = setting(2.0, "weight of a lung voxel in the L1; other voxels weigh 1", low=0.0, high=1.0e6)
    lung_weight_epochs: int = setting(
        0,
        "epochs in which a lung voxel's weight rises from 1 to lung_weight; 0: it has it from the start",
        low=0,
        high=1000000,
    )
    enhancement_weight: float = setting(
        0.0,
        "added to a voxel's weight in the L1 where the CTA is 80 HU above the NCCT: w makes it 1 + w times as large",
        low=0.0,
        high=1.0e6,
    )
    body_only: bool = setting(False, "count errors in the body alone, not in the air and the table around it")
    gate_weight: float = setting(
        0.1, "with model.head gated: weight of BCE + Dice of the gate on CTA - NCCT > 80 HU", low=0.0, high=1.0e6
    )
    perceptual_weight: float = setting(
        0.0, "weight of the distance of an encoder's features; 0: none", low=0.0, high=1.0e6
    )
    perceptual_features: str = setting(
        "", "file of that encoder: made by ncct-cta features, or torchvision's weights of a VGG"
    )
    scales: int = setting(
        1, "resolutions that the loss is the mean over, each average-pooled 2x from the one before", low=1, high=6
    )

    @property
    def masks(self) -> tuple[str, ...]:
        """The masks of a patch that it needs, by their keys in a batch."""
        return (LUNG, BODY) if self.body_only else (LUNG,)


@dataclass(frozen=True)
class RegistrationConfig(Section):
    """The registration net R: forgives misaligned pairs during training, never warps what is saved."""

    enabled: bool = setting(False, "warp the prediction onto the CTA before the reconstruction loss")
    start_epoch: int = setting(1, "the epoch that R joins in; its schedule begins there", low=1, high=1000000)
    smoothness_weight: float = setting(1.0, "weight of the penalty on a rough displacement", low=0.0, high=1.0e6)
    penalty: str = setting("diffusion", "roughness: first or second derivatives", choices=("diffusion", "bending"))
    max_displacement: float = setting(10.0, "largest displacement of R in voxels", low=0.1, high=1000.0)
    attention: bool = setting(False, "self-attention where R's features are coarsest; it starts without effect")
    lr: float = setting(1.0e-4, "learning rate of R at its peak; scheduled like the net it helps", low=0.0, high=10.0)


@dataclass(frozen=True)
class RefineConfig(Section):
    """The refinement net G2, fed with x * |G(x)|."""

    enabled: bool = setting(False, "refine G's prediction with G2")
    hidden_dim: int = setting(64, "features in each block", low=1, high=8192)
    num_blocks: int = setting(6, "number of residual blocks", low=1, high=256)
    fusion: str = setting(
        "product", "what G2 sees: x * |G|; or that, x and G as channels (concat)", choices=("product", "concat")
    )
    base: str = setting(
        "auto",
        "what G2 adds its change to: x * |G| (product), G (coarse), or 2 * sqrt(u * v) - 1 with u, v of x, G in [0, 1] "
        "(root); auto: product with the fusion product, coarse with concat",
        choices=("auto", "product", "coarse", "root"),
    )
    freeze_G: bool = setting(True, "keep G as it is; false: it trains on with train.lr")
    lr: float = setting(1.0e-4, "learning rate of G2 at its peak", low=0.0, high=10.0)
    lr_scheduler: str = setting("cosine", "after the warm-up: cosine to zero, or constant", choices=SCHEDULES)
    warmup_steps: int = setting(200, "steps of linear warm-up", low=0, high=1000000000)


@dataclass(frozen=True)
class DiscriminatorConfig(Section):
    """The discriminator D, conditional on the NCCT."""

    enabled: bool = setting(False, "train against D")
    gan_weight: float = setting(1.0, "weight of the generator's adversarial term", low=0.0, high=1.0e6)
    feat_match_weight: float = setting(1.0, "weight of the feature matching", low=0.0, high=1.0e6)
    mode: str = setting("least_squares", "adversarial loss", choices=("least_squares", "hinge"))
    num_scales: int = setting(3, "scales, each on a 2x average-pooled input of the one before", low=1, high=8)
    num_layers: int = setting(3, "layers of each scale that halve the grid", low=1, high=8)
    hidden_dim: int = setting(64, "features of each scale's first layer", low=1, high=8192)
    spectral_norm: bool = setting(True, "keep every layer of D from amplifying")
    r1_weight: float = setting(
        0.0, "weight of the R1 penalty on D's gradient at real pairs; 0: none", low=0.0, high=1.0e6
    )
    r1_every: int = setting(16, "D steps from one R1 penalty to the next, which weighs as much more", low=1, high=1000)
    steps: int = setting(1, "steps of D a generator step", low=1, high=1000)
    warmup_epochs: int = setting(
        5, "epochs of reconstruction alone before D joins (train.skip_warmup: none)", low=0, high=1000000
    )
    start_epoch: int = setting(
        0, "the epoch that D joins in, where its schedule begins; 0: as warmup_epochs says", low=0, high=1000000
    )
    lr: float = setting(2.0e-4, "learning rate of D at its peak", low=0.0, high=10.0)
    lr_scheduler: str = setting("cosine", "after the warm-up: cosine to zero, or constant", choices=SCHEDULES)
    warmup_steps: int = setting(200, "steps of linear warm-up", low=0, high=1000000000)


@dataclass(frozen=True)
class EmaConfig(Section):
    """Exponential moving average of the trained weights; validation, best checkpoint and inference use it."""

    enabled: bool = setting(True, "keep an exponential moving average of the weights")
    decay: float = setting(0.999, "share of the old average kept at each step, after a warm-up", low=0.0, high=1.0)


@dataclass(frozen=True)
class TrainConfig(Section):
    """Length, learning rates and output of a training."""

    num_epochs: int = setting(100, "total number of epochs", low=1, high=1000000)
    steps_per_epoch: int = setting(250, "optimiser steps an epoch", low=1, high=10000000)
    batch_size: int = setting(8, "slices or patches a step, over all processes", low=1, high=65536)
    lr: float = setting(1.0e-4, "learning rate of G at its peak; a frozen G takes no step", low=0.0, high=10.0)
    lr_scheduler: str = setting(
        "cosine",
        "after the warm-up: cosine to zero, or constant; with G2 refine.lr_scheduler counts",
        choices=SCHEDULES,
    )
    warmup_steps: int = setting(
        200, "steps of linear warm-up; with G2 refine.warmup_steps counts", low=0, high=1000000000
    )
    weight_decay: float = setting(0.0, "AdamW's weight decay", low=0.0, high=100.0)
    grad_clip: float = setting(1.0, "largest norm of a net's gradient; 0 doesn't clip", low=0.0, high=1.0e9)
    amp: str = setting(
        "off",
        "mixed precision: bf16 (CPU, CUDA), fp16 (CUDA), or auto: bf16 where the device computes in it, else off",
        choices=("off", "bf16", "fp16", "auto"),
    )
    compile: bool = setting(
        False, "let PyTorch compile G and G2 (needs a C++ compiler): minutes at the start, then faster steps"
    )
    device: str = setting("auto", "auto: cuda if there is one; or cpu, cuda, cuda:1")
    seed: int = setting(0, "seed of weights, sampling and augmentation", low=0, high=4294967295)
    val_every: int = setting(1, "epochs between validations", low=1, high=1000000)
    val_slices: int = setting(
        0,
        "slices of each case that validations between whole ones take, in evenly spaced slabs; 0: all",
        low=0,
        high=1000000,
    )
    val_full_every: int = setting(
        10,
        "with val_slices: epochs between validations of whole cases, which alone choose the best checkpoint",
        low=1,
        high=1000000,
    )
    checkpoint_every: int = setting(
        10, "epochs between kept checkpoints (last and best are always kept)", low=1, high=1000000
    )
    best: str = setting(
        "val_loss",
        "what checkpoint_best.pt is chosen by: the lowest val_loss, the lowest error in vessels, or the last epoch",
        choices=("val_loss", "val_vessel_mae_hu", "last"),
    )
    output_dir: str = setting("./outputs", "the run's folder")
    pretrained_G: str = setting("", "checkpoint or packed model that G starts from; starter: the one in the package")
    pretrained_G2: str = setting("", "checkpoint or packed model that G2 starts from")
    skip_warmup: bool = setting(False, "let D join in the first epoch")
    resume: bool = setting(False, "go on from output_dir/checkpoint_last.pt if it is there")
    debug: bool = setting(False, "log shapes, ranges, timings and memory of every stage")
