"""Library of set-input modules: packed sets, the patch cut-out, encoders, pools. Imports torch only.

- sets: SetBatch
- patches of images: PatchCutout, cutout_patch2d, heat_map; embeddings of their places: SinusoidalPosition,
  PatchUnitPosition, LearnedPosition
- images that are read where patches are cut: LazyImages, ImageReader
- networks: SetSequential, Stack; SetModule is the base class of encoders and pools
- encoders, which return a SetBatch: EquivariantLinear, EquivariantLayer, ResidualBlock, SAB, ISAB, SetNorm; their
  parts: MAB, MultiheadAttention
- pools, which return a vector for each set: ReducePool, AttentionPool, PMA, SortPool, LatentPool,
  TransportPool, JanossyPool
- classifiers of bags, which return logits and know more of each element: DSMIL, AdditiveMIL, CLAM, TransMIL,
  DTFDMIL, SmoothMIL; BagClassifier is their base class
- losses that read what they know: InstanceLoss, CLAMLoss, DTFDLoss
- functions of each set: set_sum, set_mean, set_max, set_min, set_std, set_logsumexp, set_argmax, set_softmax,
  set_softmax_sum, set_weighted_sum, set_products
- random numbers without state: random_int, FIXED
"""

from set_module.additive_mil import AdditiveMIL
from set_module.attention import MultiheadAttention
from set_module.attention_pool import AttentionPool
from set_module.bag_classifier import BagClassifier
from set_module.clam import CLAM, CLAMLoss
from set_module.counter_rng import FIXED, random_int
from set_module.dsmil import DSMIL
from set_module.dtfd_mil import DTFDMIL, DTFDLoss
from set_module.equivariant import EquivariantLayer, EquivariantLinear
from set_module.instance_loss import InstanceLoss
from set_module.isab import ISAB
from set_module.janossy_pool import JanossyPool
from set_module.latent_pool import LatentPool
from set_module.lazy_images import ImageReader, LazyImages
from set_module.mab import MAB
from set_module.patch_cutout import PatchCutout, cutout_patch2d
from set_module.patch_heat_map import heat_map
from set_module.pma import PMA
from set_module.position import LearnedPosition, PatchUnitPosition, SinusoidalPosition
from set_module.reduce import set_argmax, set_logsumexp, set_max, set_mean, set_min, set_std, set_sum
from set_module.reduce_pool import ReducePool
from set_module.residual import ResidualBlock
from set_module.sab import SAB
from set_module.set_batch import SetBatch
from set_module.set_norm import SetNorm
from set_module.set_product import set_products, set_weighted_sum
from set_module.set_sequential import SetModule, SetSequential
from set_module.smooth_mil import SmoothMIL
from set_module.softmax import set_softmax, set_softmax_sum
from set_module.sort_pool import SortPool
from set_module.stack import Stack
from set_module.trans_mil import TransMIL
from set_module.transport_pool import TransportPool

__all__ = [
    "CLAM",
    "DSMIL",
    "DTFDMIL",
    "FIXED",
    "ISAB",
    "MAB",
    "PMA",
    "SAB",
    "AdditiveMIL",
    "AttentionPool",
    "BagClassifier",
    "CLAMLoss",
    "DTFDLoss",
    "EquivariantLayer",
    "EquivariantLinear",
    "ImageReader",
    "InstanceLoss",
    "JanossyPool",
    "LatentPool",
    "LazyImages",
    "LearnedPosition",
    "MultiheadAttention",
    "PatchCutout",
    "PatchUnitPosition",
    "ReducePool",
    "ResidualBlock",
    "SetBatch",
    "SetModule",
    "SetNorm",
    "SetSequential",
    "SinusoidalPosition",
    "SmoothMIL",
    "SortPool",
    "Stack",
    "TransMIL",
    "TransportPool",
    "cutout_patch2d",
    "heat_map",
    "random_int",
    "set_argmax",
    "set_logsumexp",
    "set_max",
    "set_mean",
    "set_min",
    "set_products",
    "set_softmax",
    "set_softmax_sum",
    "set_std",
    "set_sum",
    "set_weighted_sum",
]
