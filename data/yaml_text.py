"""YAML as people write settings: what YAML lets pass and nobody means is an error."""

from collections.abc import Hashable
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """A key that stands twice in one mapping is an error, instead of its last value."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys: set[Hashable] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node)
            if key in keys:
                raise yaml.YAMLError(f"{key!r} twice, again in line {key_node.start_mark.line + 1}")
            keys.add(key)
        return super().construct_mapping(node, deep)


def parse_yaml(text: str) -> Any:
    """Plain values of a YAML text. Raises ValueError: one sentence on what is wrong in it."""
    try:
        return _Loader(text).get_single_data()
    except RecursionError:
        raise ValueError("expected YAML, found values nested hundreds of levels deep") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2026-02-30
        raise ValueError(f"expected YAML, found {' '.join(str(error).split())}") from None
