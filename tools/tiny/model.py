"""The qwen2_vl network of fovea-tiny, written for training many small pictures at once.

Modules carry the names that released checkpoints use, so that state_dict() is the checkpoint. All
pictures of a batch have one size. Legend: B pictures, P patches, N = P / 4 image tokens, L text
positions, D width, H heads, K head size.
"""
import torch
from torch import nn
from torch.nn import functional as F

VISION = {"depth": 5, "embed_dim": 192, "num_heads": 3, "mlp_ratio": 4, "patch_size": 14,
          "temporal_patch_size": 2, "spatial_merge_size": 2, "in_channels": 3}
TEXT = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4,
        "num_key_value_heads": 2, "intermediate_size": 512, "rms_norm_eps": 1e-6,
        "rope_theta": 10.0, "mrope_section": [8, 12, 12], "max_position_embeddings": 2048}
HEAD = 64


def rotate(x, cos, sin):
    one, two = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-two, one), dim=-1) * sin


def attend(q_BHLK, k_BHLK, v_BHLK, mask=None):
    """Attention with the scores in memory: on a CPU two batched bfloat16 products and a softmax
    take a third of the time of torch's fused kernel at these lengths."""
    scores = (q_BHLK * HEAD ** -.5) @ k_BHLK.mT
    if mask is not None:
        scores = scores + mask
    return scores.softmax(-1).to(v_BHLK.dtype) @ v_BHLK


class RMSNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return F.rms_norm(x, (x.shape[-1],), self.weight, TEXT["rms_norm_eps"])


class VisionAttention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x_BPD, cos, sin):
        b, p, d = x_BPD.shape
        q, k, v = self.qkv(x_BPD).view(b, p, 3, d // HEAD, HEAD).permute(2, 0, 3, 1, 4)
        out = attend(rotate(q, cos, sin), rotate(k, cos, sin), v)
        return self.proj(out.transpose(1, 2).reshape(b, p, d))


class QuickGelu(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


class VisionBlock(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn = VisionAttention(width)
        self.mlp = nn.Module()
        self.mlp.fc1, self.mlp.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.act = QuickGelu()

    def forward(self, x, cos, sin):
        x = x + self.attn(self.norm1(x), cos, sin)
        return x + self.mlp.fc2(self.act(self.mlp.fc1(self.norm2(x))))


class Merger(nn.Module):
    def __init__(self, width, out):
        super().__init__()
        self.ln_q = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(4 * width, 4 * width), nn.GELU(), nn.Linear(4 * width, out))

    def forward(self, x_BPD):
        b, p, d = x_BPD.shape
        return self.mlp(self.ln_q(x_BPD).view(b, p // 4, 4 * d))


class VisionTower(nn.Module):
    def __init__(self):
        super().__init__()
        width = VISION["embed_dim"]
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv3d(3, width, (2, 14, 14), bias=False)
        self.blocks = nn.ModuleList(
            VisionBlock(width, width * VISION["mlp_ratio"]) for _ in range(VISION["depth"]))
        self.merger = Merger(width, TEXT["hidden_size"])

    def angles(self, rows, columns):
        """cos and sin [P, K] of patches taken in 2 x 2 blocks."""
        r = torch.arange(2 * rows).view(rows, 1, 2, 1).expand(rows, columns, 2, 2).reshape(-1)
        c = torch.arange(2 * columns).view(1, columns, 1, 2).expand(rows, columns, 2, 2).reshape(-1)
        frequency = 1e4 ** -(torch.arange(0, HEAD // 2, 2) / (HEAD // 2))
        angle = torch.cat((r[:, None] * frequency, c[:, None] * frequency), dim=-1)
        angle = torch.cat((angle, angle), dim=-1)
        return angle.cos(), angle.sin()

    def forward(self, patches_BPx, rows, columns):
        # A still picture is shown to both temporal planes: one product with their sum is enough.
        weight = self.patch_embed.proj.weight.sum(dim=2).flatten(1)
        x = F.linear(patches_BPx, weight)
        cos, sin = self.angles(rows, columns)
        for block in self.blocks:
            x = block(x, cos, sin)
        return self.merger(x)


class TextAttention(nn.Module):
    def __init__(self):
        super().__init__()
        width, kv = TEXT["hidden_size"], TEXT["num_key_value_heads"] * HEAD
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, kv)
        self.v_proj, self.o_proj = nn.Linear(width, kv), nn.Linear(width, width, bias=False)

    def forward(self, x_BLD, cos, sin, mask):
        b, l, d = x_BLD.shape
        q = self.q_proj(x_BLD).view(b, l, -1, HEAD).transpose(1, 2)
        k = self.k_proj(x_BLD).view(b, l, -1, HEAD).transpose(1, 2)
        v = self.v_proj(x_BLD).view(b, l, -1, HEAD).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        groups = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
        out = attend(q, k, v, mask)
        return self.o_proj(out.transpose(1, 2).reshape(b, l, d))


class TextMlp(nn.Module):
    def __init__(self):
        super().__init__()
        width, hidden = TEXT["hidden_size"], TEXT["intermediate_size"]
        self.gate_proj = nn.Linear(width, hidden, bias=False)
        self.up_proj = nn.Linear(width, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, width, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class TextBlock(nn.Module):
    def __init__(self):
        super().__init__()
        width = TEXT["hidden_size"]
        self.input_layernorm, self.post_attention_layernorm = RMSNorm(width), RMSNorm(width)
        self.self_attn, self.mlp = TextAttention(), TextMlp()

    def forward(self, x, cos, sin, mask):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class TextModel(nn.Module):
    def __init__(self, vocab):
        super().__init__()
        self.embed_tokens = nn.Embedding(vocab, TEXT["hidden_size"])
        self.layers = nn.ModuleList(TextBlock() for _ in range(TEXT["num_hidden_layers"]))
        self.norm = RMSNorm(TEXT["hidden_size"])


class TinyModel(nn.Module):
    def __init__(self, vocab: int):
        super().__init__()
        self.visual = VisionTower()
        self.model = TextModel(vocab)
        initialise(self)

    def text_angles(self, positions_3BL):
        """cos and sin [B, 1, L, K]: time, row and column each turn their own share of a head."""
        frequency = TEXT["rope_theta"] ** -(torch.arange(0, HEAD, 2) / HEAD)
        parts, at = [], 0
        for axis, length in enumerate(TEXT["mrope_section"]):
            parts.append(positions_3BL[axis][..., None] * frequency[at:at + length])
            at += length
        angle = torch.cat(parts + parts, dim=-1)[:, None]
        return angle.cos(), angle.sin()

    def embed(self, ids, image_BND, image_start):
        x = self.model.embed_tokens(ids)
        n = image_BND.shape[1]
        return torch.cat((x[:, :image_start], image_BND, x[:, image_start + n:]), dim=1)

    def run_text(self, x_BLD, positions_3BL, segment_BL, tap=2):
        """Hidden states after the last norm, and those after layer `tap`."""
        mask = attention_mask(segment_BL)
        cos, sin = self.text_angles(positions_3BL)
        tapped = None
        for number, layer in enumerate(self.model.layers, 1):
            x_BLD = layer(x_BLD, cos, sin, mask)
            if number == tap:
                tapped = x_BLD
        return self.model.norm(x_BLD), tapped

    def logits(self, hidden):
        return F.linear(hidden, self.model.embed_tokens.weight)


def attention_mask(segment_BL):
    """0 where row may see column: causal, and only the own question or the shared prefix."""
    length = segment_BL.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    query, key = segment_BL[:, :, None], segment_BL[:, None, :]
    seen = ((query == key) | (key == 0)).logical_and(causal)[:, None]
    return torch.zeros(seen.shape, dtype=torch.bfloat16).masked_fill(~seen, -1e4)


def initialise(model: TinyModel):
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2:
            continue
        fan_in = parameter[0].numel()
        scale = fan_in ** -.5
        if any(part in name for part in ("o_proj", "down_proj", "attn.proj", "fc2")):
            scale *= .3
        if "embed_tokens" in name:
            scale = .05
        if "patch_embed" in name:
            scale *= .7
        nn.init.normal_(parameter, 0, scale)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
