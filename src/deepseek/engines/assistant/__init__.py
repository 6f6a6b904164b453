"""Questions to intents: a bundle of `recipe assistant`, opened and asked. Linear heads in numpy, encoders in OpenVINO.

    assistant = load_assistant(Path("help"))
    assistant.understand(["Where is my card?"])[0].decision          # answer | ask | hand_over

A question becomes TF-IDF of its words and letters (terms.py) and one embedding for each encoder of the bundle
(encoders.py); linear heads score the intents, a pool weighs the heads, and two judges say how likely the first intent
is right and how likely the question is one that the assistant knows (judges.py). runtime.py joins them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.extras import lazy_attributes

if TYPE_CHECKING:
    from deepseek.engines.assistant.runtime import Assistant, load_assistant

__all__ = ["Assistant", "load_assistant"]

__getattr__ = lazy_attributes(__name__, {"Assistant": "runtime", "load_assistant": "runtime"})
