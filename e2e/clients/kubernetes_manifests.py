"""Checks objects, a JSON list on standard input, against Kubernetes' own schemas, in each version that is named.

Strict: a member that the schema does not know is an error. Prints how many objects were checked.
"""

import json
import sys

import kubernetes_validate

objects = json.load(sys.stdin)
for version in sys.argv[1:]:
    for found in objects:
        try:
            kubernetes_validate.validate(found, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            sys.exit(f"{version}: {found['kind']} {found['metadata']['name']}: {error.message}")
print(len(objects))
