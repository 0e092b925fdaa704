"""Time zones by their names in the tz database, which are the ones that clocks are computed by."""

from __future__ import annotations

from functools import cache
from zoneinfo import available_timezones

_REGIONS = (
    *("Africa/", "America/", "Antarctica/", "Asia/", "Atlantic/"),
    *("Australia/", "Europe/", "Indian/", "Pacific/"),
)

# Cliniko's names are those of Rails: mostly a city's. These are the ones whose city gives its name
# to no zone or to two; https://api.rubyonrails.org/classes/ActiveSupport/TimeZone.html lists them
# all. "International Date Line West" is left out: nobody lives there.
NAMED_OTHERWISE = {
    "Abu Dhabi": "Asia/Dubai",
    "Alaska": "America/Juneau",
    "American Samoa": "Pacific/Pago_Pago",
    "Arizona": "America/Phoenix",
    "Astana": "Asia/Almaty",
    "Atlantic Time (Canada)": "America/Halifax",
    "Beijing": "Asia/Shanghai",
    "Bern": "Europe/Zurich",
    "Brasilia": "America/Sao_Paulo",
    "Buenos Aires": "America/Argentina/Buenos_Aires",
    "Cape Verde Is.": "Atlantic/Cape_Verde",
    "Central America": "America/Guatemala",
    "Central Time (US & Canada)": "America/Chicago",
    "Chatham Is.": "Pacific/Chatham",
    "Chennai": "Asia/Kolkata",
    "Eastern Time (US & Canada)": "America/New_York",
    "Edinburgh": "Europe/London",
    "Ekaterinburg": "Asia/Yekaterinburg",
    "Georgetown": "America/Guyana",
    "Greenland": "America/Nuuk",
    "Guadalajara": "America/Mexico_City",
    "Hanoi": "Asia/Bangkok",
    "Hawaii": "Pacific/Honolulu",
    "Indiana (East)": "America/Indiana/Indianapolis",
    "Islamabad": "Asia/Karachi",
    "Istanbul": "Europe/Istanbul",
    "Kyiv": "Europe/Kiev",
    "Marshall Is.": "Pacific/Majuro",
    "Mid-Atlantic": "Atlantic/South_Georgia",
    "Midway Island": "Pacific/Midway",
    "Mountain Time (US & Canada)": "America/Denver",
    "Mumbai": "Asia/Kolkata",
    "New Caledonia": "Pacific/Noumea",
    "New Delhi": "Asia/Kolkata",
    "Newfoundland": "America/St_Johns",
    "Nuku'alofa": "Pacific/Tongatapu",
    "Osaka": "Asia/Tokyo",
    "Pacific Time (US & Canada)": "America/Los_Angeles",
    "Pretoria": "Africa/Johannesburg",
    "Quito": "America/Lima",
    "Samoa": "Pacific/Apia",
    "Sapporo": "Asia/Tokyo",
    "Saskatchewan": "America/Regina",
    "Solomon Is.": "Pacific/Guadalcanal",
    "Sri Jayawardenepura": "Asia/Colombo",
    "St. Petersburg": "Europe/Moscow",
    "Tokelau Is.": "Pacific/Fakaofo",
    "Wellington": "Pacific/Auckland",
    "West Central Africa": "Africa/Algiers",
}


@cache
def choices() -> tuple[str, ...]:
    """Every zone that a clinic can lie in, by name."""
    named = (name for name in available_timezones() if name.startswith(_REGIONS))
    return (*sorted(named), "UTC")


@cache
def named_by_cliniko(name: str) -> str | None:
    """The zone that Cliniko means, by a name of Rails or of the tz database; None if nobody can
    tell, so that somebody is to be asked."""
    if name in choices():
        return name
    if name in NAMED_OTHERWISE:
        return NAMED_OTHERWISE[name]
    city = "/" + name.replace(" ", "_")
    of_that_city = [zone for zone in choices() if zone.endswith(city)]
    return of_that_city[0] if len(of_that_city) == 1 else None
