"""Operations that are linear in what is on the path: their own gradient is right under every rule of differences."""

from __future__ import annotations

from typing import Any

from enodo.core.operations import is_live
from enodo.core.tables import MOVED, PLAIN, Decompose, Depends, Treatment

# Entries are moved, copied, dropped, or joined to others.
MOVES = (
    "view reshape flatten unflatten squeeze unsqueeze transpose permute t T mT H mH adjoint movedim contiguous"
    " clone expand expand_as broadcast_to broadcast_tensors repeat repeat_interleave tile getitem setitem select"
    " narrow slice split split_with_sizes tensor_split chunk unbind hsplit vsplit dsplit flip fliplr flipud rot90"
    " roll cat stack hstack vstack dstack column_stack row_stack view_as reshape_as as_strided diagonal diag"
    " diag_embed tril triu pad constant_pad_nd unfold fold im2col col2im pixel_shuffle pixel_unshuffle"
    " channel_shuffle native_channel_shuffle max_unpool2d max_unpool3d index_select gather take take_along_dim"
    " masked_select scatter masked_scatter put index_put index_add index_copy index_fill select_scatter slice_scatter"
    " diagonal_scatter meshgrid atleast_1d atleast_2d atleast_3d ravel block_diag copy fill zero alias view_as_real"
    " view_as_complex real imag conj pack_padded_sequence pad_packed_sequence resolve_conj resolve_neg complex set"
    " fill_diagonal"
).split()
# The same numbers in another dtype, at another place, or with a name.
CASTS = "to as_tensor asarray type type_as float double half bfloat16 cpu cuda identity rename align_to".split()
# Sums and averages, with weights that do not depend on what is on the path.
SUMS = (
    "add sub rsub neg positive sum mean nansum cumsum diff trace scatter_add embedding embedding_bag avg_pool1d"
    " avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d interpolate upsample"
    " upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d upsample_bilinear2d"
    " upsample_bicubic2d upsample_trilinear3d dropout dropout1d dropout2d dropout3d"
    " feature_dropout alpha_dropout feature_alpha_dropout fft_fft fft_ifft fft_rfft fft_irfft fft_fft2 fft_ifft2"
    " fft_rfft2 fft_irfft2 fft_fftn fft_ifftn fft_rfftn fft_irfftn fft_fftshift fft_ifftshift stft istft nll_loss"
    " nll_loss_nd affine_grid_generator"
).split()


def _branch(pred: Any, true_fn: Any, false_fn: Any, operands: Any = ()) -> Any:
    """torch.cond without its compiler, which would take a mode for code of the model."""
    return (true_fn if pred else false_fn)(*operands)


# Dropouts give back what they are given, in eval mode.
_MOVING = (*MOVES, *CASTS, *(name for name in SUMS if "dropout" in name))
LINEAR: dict[str, Treatment] = {
    **dict.fromkeys(SUMS, PLAIN),
    **dict.fromkeys(_MOVING, MOVED),
    "cond": Decompose(_branch),  # of what its branches do
}


def only_first(rule: Treatment, usual: Treatment = PLAIN) -> Depends:
    """Linear in its first argument, or `usual`; with others on the path (weights that the model computes), `rule`."""

    def choose(*args: Any, **kwargs: Any) -> Treatment:
        others = any(map(is_live, args[1:])) or (kwargs and any(map(is_live, kwargs.values())))
        return rule if others else usual

    return Depends(choose)
