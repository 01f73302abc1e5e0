"""Rows of the RM-R1 paper (arXiv 2505.02387, tables 1 and the detailed ones): quoted, never measured here."""

from __future__ import annotations

from collections.abc import Mapping

SOURCE = "RM-R1 paper, arXiv 2505.02387"

# judge -> (RewardBench, RM-Bench, RMB), in percent
_TOTALS: dict[str, tuple[float, float, float]] = {
    "RM-R1-DeepSeek-Distilled-Qwen-7B": (80.1, 72.4, 55.1),
    "RM-R1-Qwen-Instruct-7B": (85.2, 70.2, 66.4),
    "RM-R1-Qwen-Instruct-14B": (88.2, 76.1, 69.2),
    "RM-R1-DeepSeek-Distilled-Qwen-14B": (88.9, 81.5, 68.5),
    "RM-R1-Qwen-Instruct-32B": (91.4, 79.1, 73.0),
    "RM-R1-DeepSeek-Distilled-Qwen-32B": (90.9, 83.9, 69.8),
    "INF-ORM-Llama3.1-70B": (95.1, 70.9, 70.5),
    "GPT-4o-0806": (86.7, 72.5, 73.8),
    "Skywork-Reward-Llama-3.1-8B": (92.5, 70.1, 69.3),
    "Nemotron-4-340B-Reward": (92.0, 69.5, 69.9),
    "Skywork-Critic-70B": (93.3, 71.9, 65.5),
    "Self-taught-evaluator-70B": (90.2, 71.4, 67.0),
    "Gemini-1.5-pro": (88.2, 75.2, 56.5),
    "Claude-3.5-sonnet": (84.2, 61.0, 70.6),
    "JudgeLRM": (75.2, 64.7, 53.1),
}
_Q, _D = "RM-R1-Qwen-Instruct-", "RM-R1-DeepSeek-Distilled-Qwen-"
_SECTIONS = {  # RewardBench: Chat, Chat Hard, Safety, Reasoning
    f"{_Q}7B": (94.1, 74.6, 85.2, 86.7),
    f"{_D}7B": (88.9, 66.2, 78.4, 87.0),
    f"{_Q}14B": (93.6, 80.5, 86.9, 92.0),
    f"{_D}14B": (91.3, 79.4, 89.3, 95.5),
    f"{_Q}32B": (95.3, 83.1, 91.9, 95.2),
    f"{_D}32B": (95.3, 80.3, 91.1, 96.8),
}
_DOMAINS = {  # RM-Bench: Chat, Math, Code, Safety, Easy, Normal, Hard
    f"{_Q}7B": (66.6, 67.0, 54.6, 92.6, 79.2, 71.7, 59.7),
    f"{_D}7B": (64.0, 83.9, 56.2, 85.3, 75.9, 73.1, 68.1),
    f"{_Q}14B": (75.6, 75.4, 60.6, 93.6, 82.6, 77.5, 68.8),
    f"{_D}14B": (71.8, 90.5, 69.5, 94.1, 86.2, 83.6, 74.4),
    f"{_Q}32B": (75.3, 80.2, 66.8, 93.9, 86.3, 80.5, 70.4),
    f"{_D}32B": (74.2, 91.8, 74.1, 95.4, 89.5, 85.4, 76.7),
}
_PARTS = {  # RMB: helpfulness best-of-N and pairwise, harmlessness best-of-N and pairwise
    f"{_Q}7B": (54.3, 74.0, 60.8, 76.5),
    f"{_D}7B": (45.1, 65.8, 42.9, 66.4),
    f"{_Q}14B": (59.4, 77.6, 62.0, 77.8),
    f"{_D}14B": (59.3, 76.5, 61.3, 76.9),
    f"{_Q}32B": (63.6, 79.1, 68.2, 80.9),
    f"{_D}32B": (62.0, 78.2, 61.8, 77.1),
}


def _rows(
    column: int, details: Mapping[str, tuple[float, ...]], names: tuple[str, ...]
) -> dict[str, dict[str, float]]:
    made = {}
    for judge, totals in _TOTALS.items():
        parts = dict(zip(names, details.get(judge, ()), strict=False))
        made[judge] = {
            name: round(percent / 100, 4) for name, percent in {**parts, "overall": totals[column]}.items()
        }
    return made


REWARDBENCH = _rows(0, _SECTIONS, ("Chat", "Chat Hard", "Safety", "Reasoning"))
RM_BENCH = _rows(1, _DOMAINS, ("Chat", "Math", "Code", "Safety", "Easy", "Normal", "Hard"))
RMB = _rows(
    2,
    _PARTS,
    ("Helpfulness, best-of-N", "Helpfulness, pairwise", "Harmlessness, best-of-N", "Harmlessness, pairwise"),
)
