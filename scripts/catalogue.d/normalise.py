"""Brings facts about models and providers into the form that shared/llm/src/catalogue reads.

Whatever it does not know is an error: a field that nobody maps would be lost in silence. Amounts are exact decimals;
those finer than a billionth of a dollar a million are rounded half up. The same files give the same bytes.
"""

import gzip
import json
import re
import sys
from collections import Counter
from decimal import ROUND_HALF_UP, Decimal

PER_TOKEN = "_cost_per_million_tokens"
BILLIONTH = Decimal("1e-9")
MILLION = 1_000_000
MAX_BYTES = 400 * 1024

# Prices of other things than tokens: field, name, and how many of them the price is for.
UNITS = {
    "input_cost_per_image": ("input_image", 1),
    "output_cost_per_image": ("output_image", 1),
    "input_cost_per_million_pixels": ("input_pixel", MILLION),
    "output_cost_per_million_pixels": ("output_pixel", MILLION),
    "cost_per_audio_second": ("audio_second", 1),
    "audio_input_cost_per_second": ("audio_input_second", 1),
    "video_input_cost_per_second": ("video_input_second", 1),
    "input_cost_per_million_characters": ("input_character", MILLION),
    "output_cost_per_million_characters": ("output_character", MILLION),
    "cost_per_query": ("query", 1),
    "cost_per_request": ("request", 1),
    "web_search_cost_per_query": ("web_search", 1),
}
KEPT = [
    "id", "base_model", "mode", "max_input_tokens", "max_output_tokens", "embedding_dimensions", "capabilities",
    "not_supported", "reasoning_efforts", "default_reasoning_effort", "thinking_always_on", "prompt_cache_min_tokens",
    "endpoints", "inference_profiles", "regions_listed", "deprecation_date", "source",
]  # fmt: skip
# Time zones without daylight saving; minutes before UTC.
ZONES = {None: 0, "Asia/Shanghai": 8 * 60}

rounded = Counter()


def fail(row, what):
    sys.exit(f"{row}: {what}")


def amount(text, times=1):
    exact = Decimal(text) * times
    kept = exact.quantize(BILLIONTH, ROUND_HALF_UP)
    if exact != kept:
        rounded[text] += 1
    if kept < 0:
        sys.exit(f"negative: {text}")
    return f"{kept:f}".rstrip("0").rstrip(".") if "." in f"{kept:f}" else f"{kept:f}"


def take_rates(row, prefix=""):
    """Takes the token prices whose field begins so out of a row; those of batches only where they are asked for."""
    rates = {}
    for field in list(row):
        if field.endswith(PER_TOKEN) and field.startswith(prefix) and (prefix or not field.startswith("batch_")):
            rates[field[len(prefix) : -len(PER_TOKEN)]] = amount(row.pop(field))
    return rates


def take_units(row):
    units = {}
    for field, (name, of) in UNITS.items():
        price = row.pop(field, None)
        if isinstance(price, dict):
            for size, each in price.items():
                units[f"{name}_{size}"] = amount(each, MILLION // of)
        elif price is not None:
            units[name] = amount(price, MILLION // of)
    return units


def schedule(rates, tiers):
    return {"rates": rates} | ({"long_context": tiers} if tiers else {})


def long_context(rows, prefix=""):
    tiers = []
    for row in rows:
        rates = take_rates(row, prefix)
        if rates:
            tiers.append({"above_input_tokens": row["above_input_tokens"], "rates": rates})
    return tiers


def done(name, row, known=()):
    if set(row) - set(known):
        fail(name, f"nobody maps {sorted(set(row) - set(known))}")


def tiered(name, row, rates):
    """Prices by length of the prompt: the first for any, the others above the end of the one before."""
    if rates:
        fail(name, "tiered_prices beside others")
    tiers, end = [], 0
    for tier in row:
        if tier.pop("input_tokens_from") != end:
            fail(name, "tiers with a gap")
        tiers.append({"above_input_tokens": end, "rates": take_rates(tier)})
        end = tier.pop("input_tokens_to")
        done(name, tier)
    return tiers[0]["rates"], tiers[1:]


def take_price(name, row):
    rates, batch = take_rates(row), take_rates(row, "batch_")
    rows = row.pop("long_context", [])
    tiers, batch_tiers = long_context(rows), long_context(rows, "batch_")
    if "tiered_prices" in row:
        rates, tiers = tiered(name, row.pop("tiered_prices"), rates)
    services = {"batch": schedule(batch, batch_tiers)} if batch or batch_tiers else {}
    for service, of in row.pop("service_tiers", {}).items():
        own = of.pop("long_context", [])
        services[service] = schedule(take_rates(of), long_context(own))
        rows += own
        done(name, of)
    for tier in rows:
        done(name, tier, ["above_input_tokens"])
    return {"standard": schedule(rates, tiers)} | ({"services": services} if services else {})


def regional(name, row):
    rates, batch = take_rates(row), take_rates(row, "batch_")
    price = {"standard": {"rates": rates}} if rates else {}
    if batch:
        price["services"] = {"batch": {"rates": batch}}
    units = take_units(row)
    entry = {"regions": row.pop("regions"), "price": price} | ({"units": units} if units else {})
    done(name, row)
    return entry


def minutes(text):
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)


def off_peak(name, row):
    windows = []
    for window in row.pop("windows_utc"):
        for hours in window["hours"]:
            start, end = map(minutes, hours.split("-"))
            end = end or 24 * 60
            if not 0 <= start < end <= 24 * 60:
                fail(name, f"hours {hours}")
            windows.append({"weekdays": window["weekdays"], "from_minute": start, "to_minute": end})
    zone = ZONES[row.pop("weekday_timezone", None)]
    entry = {"rates": take_rates(row), "weekdays_ahead_minutes": zone, "windows": windows}
    done(name, row)
    return entry


def image_price(name, row):
    entry = {"per_image": amount(row.pop("cost_per_image"))} | row
    done(name, row, ["quality", "size", "steps"])
    return entry


def model(row):
    name = f"{row.pop('provider')}/{row['id']}"
    entry = {field: row.pop(field) for field in KEPT if field in row}
    entry["price"] = take_price(name, row)
    units = take_units(row)
    if units:
        entry["units"] = units
    if "image_prices" in row:
        entry["image_prices"] = [image_price(name, price) for price in row.pop("image_prices")]
    if "regional_prices" in row:
        entry["regional_prices"] = [regional(name, price) for price in row.pop("regional_prices")]
    if "off_peak" in row:
        entry["off_peak"] = off_peak(name, row.pop("off_peak"))
    if "price_multipliers" in row:
        entry["price_multipliers"] = row.pop("price_multipliers")
    done(name, row)
    return entry


def key(text):
    """The order in which Rust compares texts: by bytes."""
    return text.encode()


def main(models_path, providers_path, provenance_path, out_path):
    with open(models_path) as file:
        models = json.load(file, parse_float=Decimal)
    with open(providers_path) as file:
        providers = sorted(json.load(file), key=lambda provider: key(provider["id"]))
    with open(provenance_path) as file:
        catalogue = json.load(file)
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", catalogue["date"]):
        sys.exit("provenance.json has no date")
    for field, rows in (("id", providers), ("provider/id", models)):
        keys = Counter("/".join(row[part] for part in field.split("/")) for row in rows)
        twice = [name for name, count in keys.items() if count > 1]
        if twice:
            sys.exit(f"twice: {twice}")
    by_id = {provider["id"]: provider | {"models": []} for provider in providers}
    for row in sorted(models, key=lambda row: key(row["id"])):
        if row["provider"] not in by_id:
            fail(row["id"], f"no provider {row['provider']}")
        by_id[row["provider"]]["models"].append(model(row))
    catalogue["providers"] = list(by_id.values())
    text = json.dumps(catalogue, ensure_ascii=False, separators=(",", ":")).encode()
    packed = gzip.compress(text, 9, mtime=0)
    if len(packed) > MAX_BYTES:
        sys.exit(f"{len(packed)} bytes are more than {MAX_BYTES}")
    with open(out_path, "wb") as file:
        file.write(packed)
    print(f"{len(models)} models of {len(by_id)} providers, {len(text)} bytes, {len(packed)} packed")
    print(f"rounded to a billionth: {dict(rounded)}")


main(*sys.argv[1:])
