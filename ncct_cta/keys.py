"""The one spelling of every name that a batch, an engine's output or a log carries."""

from __future__ import annotations

# A batch, as the loaders give it. Images are (B, 1, *spatial); the NCCT and the CTA are scaled to [-1, 1].
NCCT = "ncct"
CTA = "cta"
LUNG = "lung"
VESSEL = "vessel"
BODY = "body"
CASE = "case"

# An engine's output. Stages: what the cascade computed. Terms: scalars by their name in the logs.
STAGES = "stages"
TERMS = "terms"
PREDICTION = "prediction"
COARSE = "coarse"
INTERMEDIATE = "intermediate"

# Logs: Ignite metrics, TensorBoard scalars and CSV columns use exactly these.
LOSS = "loss"
L1 = "l1"
SSIM = "ssim"
GNORM_G = "gnorm_G"
RESIDUAL_MAG = "residual_mag"
L1_VS_CTA = "l1_vs_cta"
LR = "lr"
VAL_LOSS = "val_loss"
VAL_MAE_HU = "val_mae_hu"
VAL_LUNG_MAE_HU = "val_lung_mae_hu"
VAL_VESSEL_MAE_HU = "val_vessel_mae_hu"
IDENTITY_MAE_HU = "identity_mae_hu"
IDENTITY_LUNG_MAE_HU = "identity_lung_mae_hu"
IDENTITY_VESSEL_MAE_HU = "identity_vessel_mae_hu"

TRAINING_TERMS = (LOSS, L1, SSIM, GNORM_G, RESIDUAL_MAG, L1_VS_CTA, LR)
VALIDATION_TERMS = (
    VAL_LOSS,
    VAL_MAE_HU,
    VAL_LUNG_MAE_HU,
    VAL_VESSEL_MAE_HU,
    IDENTITY_MAE_HU,
    IDENTITY_LUNG_MAE_HU,
    IDENTITY_VESSEL_MAE_HU,
)

# A checkpoint's entries.
NETWORK = "network"
EMA = "ema"
