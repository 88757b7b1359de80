#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""schemas.py SWAGGER DIR: JSON schemas for kubeconform from Kubernetes' own OpenAPI file.

One file for each kind, KIND-GROUP-VERSION.json, with the definitions it refers to. A field that the API does not know is
an error, as with `kubectl apply --validate=strict`.
"""
import json
import os
import sys


def references(node):
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref" and isinstance(value, str):
                yield value.rsplit("/", 1)[1]
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def closure(definitions, name):
    found, open_names = {}, [name]
    while open_names:
        name = open_names.pop()
        if name not in found:
            found[name] = definitions[name]
            open_names += references(definitions[name])
    return found


def strict(definition):
    """No field but those that are named; numbers where a quantity or a port may be one."""
    if definition.get("format") == "int-or-string":
        return {"type": ["integer", "string"]}
    if "properties" in definition and "additionalProperties" not in definition:
        return {**definition, "additionalProperties": False}
    return definition


def main(swagger, directory):
    with open(swagger, encoding="utf-8") as f:
        definitions = json.load(f)["definitions"]
    definitions = {name: strict(d) for name, d in definitions.items()}
    quantity = "io.k8s.apimachinery.pkg.api.resource.Quantity"
    definitions[quantity] = {"type": ["string", "number"]}
    os.makedirs(directory, exist_ok=True)
    written = 0
    for name, definition in definitions.items():
        for kind in definition.get("x-kubernetes-group-version-kind", []):
            if kind["kind"].endswith("List"):
                continue
            parts = [kind["kind"], kind["group"].split(".")[0], kind["version"]]
            path = os.path.join(directory, "-".join(p for p in parts if p).lower() + ".json")
            with open(path, "w", encoding="utf-8") as f:
                json.dump({"$ref": "#/definitions/" + name,
                           "definitions": closure(definitions, name)}, f)
            written += 1
    if written < 100:
        sys.exit(f"{swagger}: only {written} kinds in it")


if __name__ == "__main__":
    main(*sys.argv[1:])
