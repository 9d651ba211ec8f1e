"""Own networks on a published figure: how far above or below its line of transfer against source accuracy they lie.

The line is of least squares through the published networks alone, in log-odds, on the data sets that an own network has
by the paper's protocol. Own results are in no fit, those of a published network neither.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import special, stats

from tfbench.data.catalog import DATASETS
from tfbench.models.catalog import NETWORKS
from tfbench.regimes import PRETRAIN, REGIMES
from tfbench.results.deviations import IMAGENET, SAME_PROTOCOL
from tfbench.results.titles import dataset_title, parse_sized
from tfbench.stats import accuracies, correlation, published
from tfbench.stats.correlation import LEVEL, Correlation, named_logit
from tfbench.stats.transforms import logit, standard_errors
from tfbench.wording import count

COLUMNS = ("regime", "network", "datasets", "of_datasets", "source_accuracy", "accuracy", "expected", "residual", "low",
           "high", "points", "points_low", "points_high", "expected_low", "expected_high", "within",
           "published_residual")
NOT_PLACED = ("regime", "network", "dataset", "reason")


@dataclasses.dataclass(frozen=True)
class Line:
    """A least-squares line y = intercept + slope · x through n points, and Student's intervals around it.

    Attributes:
      sd: of the residuals, by n - 2 degrees of freedom.
      mean, spread: of the points' x, the mean and the sum of squared distances from it.
    """

    slope: float
    intercept: float
    sd: float
    n: int
    mean: float
    spread: float

    @classmethod
    def through(cls, x, y) -> "Line":
        """The line through x, y [n ≥ 3], x not constant."""
        x, y = np.asarray(x, float), np.asarray(y, float)
        spread = float(((x - x.mean()) ** 2).sum())
        slope = float(((x - x.mean()) * (y - y.mean())).sum()) / spread
        intercept = float(y.mean() - slope * x.mean())
        left = y - intercept - slope * x
        return cls(slope, intercept, float(np.sqrt((left ** 2).sum() / (len(x) - 2))), len(x), float(x.mean()), spread)

    def at(self, x) -> np.ndarray:
        """The line's y at x, any shape."""
        return self.intercept + self.slope * np.asarray(x, float)

    def half_width(self, x, *, of_a_point: bool) -> np.ndarray:
        """Half the width at x of the 95 % band of the line, or of a further point: t · sd · √(0 or 1 + 1/n + …)."""
        leverage = 1 / self.n + (np.asarray(x, float) - self.mean) ** 2 / self.spread
        quantile = stats.t.ppf(0.5 + LEVEL / 200, self.n - 2)
        return quantile * self.sd * np.sqrt(of_a_point + leverage)


@dataclasses.dataclass(frozen=True)
class Panel:
    """One regime's published networks, and the own ones with the same data sets by its protocol.

    Attributes:
      published: their points, on `published.datasets` alone. line: through them.
      networks: K own ones. source, transfer: [K] log-odds. errors: [K] standard errors of transfer, each network's as
        if it were one more of the published, NaN on one data set.
    """

    regime: str
    published: Correlation
    line: Line
    networks: tuple[str, ...]
    source: np.ndarray
    transfer: np.ndarray
    errors: np.ndarray


@dataclasses.dataclass(frozen=True)
class Placement:
    """Own networks on a published figure.

    Attributes:
      name: of published.TABLES.
      panels: by regime, in each those of most data sets first.
      lines: COLUMNS, a row per own network and regime: datasets and of_datasets (numbers of
        common and of published ones), source_accuracy, accuracy (of the mean
        log-odds), expected (of the line there); residual (log-odds above the line) with low and high, its 95 % interval
        by the band of the line; the same in accuracy, points, points_low, points_high; expected_low, expected_high: the
        95 % band of another network, within: whether it is in there; published_residual: of the same network in the
        published table, NaN where it is not there.
      apart: NOT_PLACED, a row per result that is not placed, and per data set that a placed network lacks.
      notes: what else to know, an item each.
    """

    name: str
    panels: list[Panel]
    lines: pd.DataFrame
    apart: pd.DataFrame
    notes: list[str]


def place(name: str, table: pd.DataFrame, records: Sequence[Mapping[str, Any]], runs: Sequence[Any]) -> Placement:
    """The networks of an accuracies table on a published figure.

    Args:
      name: of published.TABLES.
      table: accuracies (stats/accuracies.py). records: those that it came from, none for a file; runs: all runs of
        their folders (budgets.Run), which tell where source accuracies come from.
    """
    theirs = published.TABLES[name].read()
    by_cell = {(record["regime"], record["network"], record["dataset"]): record for record in records}
    sources = {run.record["network"]: source for run in runs if (source := _source_of(run.record))}
    table, from_catalog = _with_catalog_sources(table, sources)
    apart: list[tuple[str, str, str, str]] = []
    agreeing: dict[tuple[str, str], list[str]] = {}
    for cell in table.itertuples():
        key = (cell.regime, cell.network, cell.dataset)
        reasons = disagreements(cell, by_cell.get(key), theirs, sources.get(parse_sized(cell.network).network))
        if reasons:
            apart.append((*key, "; ".join(reasons)))
        else:
            agreeing.setdefault((cell.regime, cell.network), []).append(cell.dataset)
    groups: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for regime in REGIMES:
        wanted = list(theirs[theirs["regime"] == regime]["dataset"].unique())
        for (of_regime, network), datasets in agreeing.items():
            if of_regime == regime:
                groups.setdefault((regime, tuple(d for d in wanted if d in datasets)), []).append(network)
                known = set(table[(table["regime"] == regime) & (table["network"] == network)]["dataset"])
                apart += [(regime, network, dataset, "no result") for dataset in wanted if dataset not in known]
    ordered = sorted(groups, key=lambda group: (list(REGIMES).index(group[0]), -len(group[1])))
    panels = [_panel(theirs, table, *group, groups[group]) for group in ordered]
    notes = []
    if from_catalog:
        notes.append(f"source accuracy of {', '.join(from_catalog)}: the published one, as no record tells it")
    if len(table) and not records:
        notes.append("a table does not tell by which protocol its accuracies came about: they are placed as if by the "
                     "paper's")
    lines = [line for panel in panels for line in _lines(panel, len(set(
        theirs[theirs["regime"] == panel.regime]["dataset"])))]
    return Placement(name, panels, pd.DataFrame(lines, columns=COLUMNS), pd.DataFrame(apart, columns=NOT_PLACED), notes)


def disagreements(cell, record: Mapping[str, Any] | None, theirs: pd.DataFrame, source: str | None) -> list[str]:
    """Why a result cannot stand beside the published ones, an item each; [] where it can.

    Args:
      cell: a row of an accuracies table. record: that it came from, None for a file.
      theirs: the published accuracies. source: data set of the network's source accuracy, None where unknown.
    """
    of_regime = theirs[theirs["regime"] == cell.regime]
    if not len(of_regime):
        return ["the published table has no such regime"]
    if cell.dataset not in set(of_regime["dataset"]):
        return [f"{dataset_title(cell.dataset)} is not among the published data sets"]
    dataset, record, reasons = DATASETS[cell.dataset], record or {}, []
    if record.get("metric", dataset.metric) != dataset.metric:
        reasons.append(f"measured by {record['metric']}, the paper by {dataset.metric}")
    expected = (record.get("test_split") or {}).get("expected") or dataset.test
    if not pd.isna(cell.n) and cell.n != expected:
        reasons.append(f"tested on {cell.n:,} of {expected:,} images")
    if failed := [level for level, result in (record.get("verification") or {}).items() if result == "FAIL"]:
        reasons.append(f"verification of the data failed at {', '.join(failed)}")
    if source is not None and source not in IMAGENET:
        reasons.append(f"its source accuracy is on {dataset_title(source)}, the paper's on ImageNet")
    elif np.isnan(cell.source_accuracy):
        reasons.append("its ImageNet accuracy is not known" + (
            " at this image size" if parse_sized(cell.network).image_size else ""))
    return reasons + [text for text in record.get("deviations") or () if text not in SAME_PROTOCOL]


def _source_of(record: Mapping[str, Any]) -> str | None:
    """The data set on which a record says that its network was pretrained."""
    if record["regime"] == PRETRAIN.name:
        return record["dataset"]
    return (record.get("source") or {}).get("dataset")


def _with_catalog_sources(table: pd.DataFrame, sources: Mapping[str, str]) -> tuple[pd.DataFrame, list[str]]:
    """The table with the catalog's ImageNet accuracy where no record tells a source; and of which networks."""
    top1 = {name: NETWORKS[name].top1 for name in table["network"].unique() if name in NETWORKS and name not in sources}
    unknown = table["source_accuracy"].isna()
    filled = table["source_accuracy"].fillna(table["network"].map(top1).astype(float))
    names = table["network"][unknown & filled.notna()].unique()
    return table.assign(source_accuracy=filled), [NETWORKS[name].title for name in names]


def _panel(theirs: pd.DataFrame, table: pd.DataFrame, regime: str, datasets: tuple[str, ...],
           networks: list[str]) -> Panel:
    """The panel of own networks that have exactly these data sets."""
    known = correlation.per_regime(theirs[theirs["regime"] == regime], datasets=datasets)[regime]
    matrix = accuracies.complete(theirs[theirs["dataset"].isin(datasets)], regime)
    order = [matrix.datasets.index(name) for name in datasets]
    paper_logits = logit(matrix.accuracy[:, order], matrix.n[:, order])
    cells = table[(table["regime"] == regime) & table["network"].isin(networks)]
    own, n = (accuracies.pivot(cells, regime, column).loc[networks, list(datasets)] for column in ("accuracy", "n"))
    x = named_logit(own.to_numpy(), n.to_numpy(), networks, datasets)
    errors = [standard_errors(np.vstack([paper_logits, row]))[-1] for row in x]
    facts = cells.drop_duplicates("network").set_index("network").loc[networks]
    source = named_logit(facts["source_accuracy"].to_numpy(float)[:, None],
                         facts["source_n"].to_numpy(float, na_value=np.nan)[:, None], networks, ["source"])[:, 0]
    return Panel(regime, known, Line.through(known.source, known.transfer), tuple(networks), source, x.mean(axis=1),
                 np.array(errors))


def _lines(panel: Panel, of_datasets: int) -> list[tuple]:
    """COLUMNS of each own network."""
    line, lines = panel.line, []
    residuals = panel.published.transfer - line.at(panel.published.source)
    theirs = dict(zip(panel.published.networks, residuals, strict=True))
    for network, x, y in zip(panel.networks, panel.source, panel.transfer, strict=True):
        on_line, of_line, of_point = line.at(x), *(line.half_width(x, of_a_point=of) for of in (False, True))
        distances = [special.expit(y) - special.expit(on_line + shift) for shift in (0, of_line, -of_line)]
        residual = y - on_line
        lines.append((panel.regime, network, len(panel.published.datasets), of_datasets, special.expit(x),
                      special.expit(y), special.expit(on_line), residual, residual - of_line, residual + of_line,
                      *distances, special.expit(on_line - of_point), special.expit(on_line + of_point),
                      bool(abs(residual) <= of_point), theirs.get(network, np.nan)))
    return lines


def lines_of(placement: Placement) -> pd.DataFrame:
    """A row per panel: regime, data sets, the number of published networks, r, slope, intercept and sd of the line."""
    return pd.DataFrame([(panel.regime, ", ".join(map(dataset_title, panel.published.datasets)), panel.line.n,
                          panel.published.r, panel.line.slope, panel.line.intercept, panel.line.sd)
                         for panel in placement.panels],
                        columns=["regime", "datasets", "networks", "r", "slope", "intercept", "sd"])


def why_apart(placement: Placement, most: int = 3) -> str:
    """How many results are not placed, and why, the commonest reasons first; "" where all are."""
    results = placement.apart[placement.apart["reason"] != "no result"]
    if not len(results):
        return ""
    reasons = results["reason"].value_counts(sort=True)
    parts = [f"{number} ({reason})" for reason, number in reasons.items()]
    more = f"; {count(len(parts) - most, 'other reason')} in the report" if len(parts) > most else ""
    return f"{count(len(results), 'result')} not placed: {'; '.join(parts[:most])}{more}"
