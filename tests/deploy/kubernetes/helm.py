"""`helm lint` and `helm template`, through the bindings of Helm's own library.

They run in a process of their own: the library starts threads and catches signals.

    echo '[{"verb": "template", "values": {}}]' | python -m tests.deploy.kubernetes.helm
"""

import json
import sys
from pathlib import Path
from typing import Any

CHART = Path(__file__).parents[3] / "deploy" / "kubernetes"
RELEASE, NAMESPACE = "ours", "ml"


def main() -> None:
    """Answer the requests of standard input."""
    # Only this process needs the library.
    import helm_python  # noqa: PLC0415

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        try:
            if request["verb"] == "lint":
                return helm_python.lint(
                    CHART,
                    request["values"],
                    strict=True,
                    namespace=NAMESPACE,
                    kube_version="v1.37.0",
                )
            with helm_python.Chart.load(CHART) as chart:
                release = request.get("release", RELEASE)
                chart.validate_schema(request["values"])
                texts = chart.render(request["values"], name=release, namespace=NAMESPACE)
            return {"texts": texts}
        except helm_python.HelmError as error:
            return {"error": str(error)}

    json.dump([answer(request) for request in json.load(sys.stdin)], sys.stdout)


if __name__ == "__main__":
    main()
