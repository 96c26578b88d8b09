"""What a model may declare: choice blocks, scopes and cells."""

from nas_plugin.choice.annotate import Rule, annotate
from nas_plugin.choice.binding import Binding, unbind
from nas_plugin.choice.block import ChoiceBlock, Mutable
from nas_plugin.choice.cell import Cell
from nas_plugin.choice.decision import Decision
from nas_plugin.choice.fan_out import fan_out
from nas_plugin.choice.input_choice import InputChoice
from nas_plugin.choice.isolate import isolated
from nas_plugin.choice.keys import KeyedBlock, keyed_blocks, unwrap
from nas_plugin.choice.layer_choice import LayerChoice
from nas_plugin.choice.nothing import Nothing
from nas_plugin.choice.repeat import Repeat
from nas_plugin.choice.scope import MutableScope
from nas_plugin.choice.value_choice import ValueChoice

__all__ = [
    "Binding",
    "Cell",
    "ChoiceBlock",
    "Decision",
    "InputChoice",
    "KeyedBlock",
    "LayerChoice",
    "Mutable",
    "MutableScope",
    "Nothing",
    "Repeat",
    "Rule",
    "ValueChoice",
    "annotate",
    "fan_out",
    "isolated",
    "keyed_blocks",
    "unbind",
    "unwrap",
]
