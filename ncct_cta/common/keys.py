"""The names used in batches, engine outputs and logs, each spelled once."""

from __future__ import annotations

# A batch, as the loaders yield it. Images are (B, 1, *spatial); the NCCT and the CTA are scaled to [-1, 1].
NCCT = "ncct"
CTA = "cta"
LUNG = "lung"
VESSEL = "vessel"
BODY = "body"
IGNORE = "ignore"  # only where a case of the case list has such a mask
CASE = "case"
MOVEMENT = (
    "movement"  # of patches that are still to be moved and cut out of larger boxes: (B, n, n + 1) in n dimensions
)
MARGIN = "margin"  # and by how many voxels a box is larger at each end of its axes: (B, n)
SLAB_DEPTH = "slab_depth"  # in validation: slices of each slab of a volume; all of them, unless it is a part of a case

# An engine's output. Stages: images computed by the cascade. Terms: scalars by their log names.
STAGES = "stages"
TERMS = "terms"
PREDICTION = "prediction"
COARSE = "coarse"
INTERMEDIATE = "intermediate"

# Logs: Ignite metrics, TensorBoard scalars and CSV columns use exactly these.
LOSS = "loss"
L1 = "l1"
SSIM = "ssim"
GATE = "gate"
PERCEPTUAL = "perceptual"
GAN_G = "gan_g"
FEAT_MATCH = "feat_match"
D_LOSS = "d_loss"
D_REAL = "D_real"
D_FAKE = "D_fake"
R1 = "r1"
SMOOTHNESS = "smoothness"
GNORM_G = "gnorm_G"
GNORM_G2 = "gnorm_G2"
GNORM_R = "gnorm_R"
GNORM_D = "gnorm_D"
PULL_RECONSTRUCTION = "pull_reconstruction"
PULL_GAN_G = "pull_gan_g"
PULL_FEAT_MATCH = "pull_feat_match"
RESIDUAL_MAG = "residual_mag"
L1_VS_CTA = "l1_vs_cta"
INTER_L1 = "inter_l1"
REFINE_DELTA = "refine_delta"
LR = "lr"
LR_G = "lr_G"
LR_G2 = "lr_G2"
LR_R = "lr_R"
LR_D = "lr_D"
VAL_LOSS = "val_loss"
VAL_MAE_HU = "val_mae_hu"
VAL_LUNG_MAE_HU = "val_lung_mae_hu"
VAL_VESSEL_MAE_HU = "val_vessel_mae_hu"
COARSE_MAE_HU = "coarse_mae_hu"
COARSE_LUNG_MAE_HU = "coarse_lung_mae_hu"
COARSE_VESSEL_MAE_HU = "coarse_vessel_mae_hu"
IDENTITY_MAE_HU = "identity_mae_hu"
IDENTITY_LUNG_MAE_HU = "identity_lung_mae_hu"
IDENTITY_VESSEL_MAE_HU = "identity_vessel_mae_hu"

# The same set for every run, so that the columns of two runs can be compared; a term that a run lacks stays empty.
TRAINING_TERMS = (
    LOSS,
    L1,
    SSIM,
    GATE,
    SMOOTHNESS,
    GAN_G,
    FEAT_MATCH,
    D_LOSS,
    D_REAL,
    D_FAKE,
    R1,
    GNORM_G,
    GNORM_G2,
    GNORM_R,
    GNORM_D,
    PULL_RECONSTRUCTION,
    PULL_GAN_G,
    PULL_FEAT_MATCH,
    RESIDUAL_MAG,
    L1_VS_CTA,
    INTER_L1,
    REFINE_DELTA,
    LR,
    LR_G,
    LR_G2,
    LR_R,
    LR_D,
)
VALIDATION_TERMS = (
    VAL_LOSS,
    VAL_MAE_HU,
    VAL_LUNG_MAE_HU,
    VAL_VESSEL_MAE_HU,
    COARSE_MAE_HU,
    COARSE_LUNG_MAE_HU,
    COARSE_VESSEL_MAE_HU,
    IDENTITY_MAE_HU,
    IDENTITY_LUNG_MAE_HU,
    IDENTITY_VESSEL_MAE_HU,
)
# What a validation of slabs found, which no whole one can be compared with.
QUICK_TERMS = {
    f"quick_{name}": name for name in (VAL_LOSS, VAL_MAE_HU, VAL_LUNG_MAE_HU, VAL_VESSEL_MAE_HU)
}  # and the names that it has in a whole one

# A checkpoint's entries.
NETWORK = "network"
EMA = "ema"

# The splits of a case list.
SPLITS = ("training", "validation", "testing")
