"""Invented borrowers: names from short lists, contacts from ranges that are reserved and reach nobody."""

from dataclasses import dataclass

_CN_FAMILY = (
    "王 wang,李 li,张 zhang,刘 liu,陈 chen,杨 yang,赵 zhao,黄 huang,周 zhou,吴 wu,徐 xu,孙 sun,胡 hu,朱 zhu,"
    "高 gao,林 lin,何 he,郭 guo,马 ma,罗 luo,梁 liang,宋 song,郑 zheng,谢 xie,韩 han,唐 tang,冯 feng"
)
_CN_GIVEN = (
    "伟 wei,芳 fang,娜 na,敏 min,静 jing,磊 lei,洋 yang,艳 yan,勇 yong,杰 jie,娟 juan,涛 tao,明 ming,超 chao,"
    "秀兰 xiulan,霞 xia,平 ping,刚 gang,桂英 guiying,建国 jianguo,丽华 lihua,志强 zhiqiang,"
    "海燕 haiyan,文博 wenbo,思雨 siyu,子轩 zixuan,雨桐 yutong,浩然 haoran,欣怡 xinyi,俊杰 junjie,晓梅 xiaomei"
)
_US_FAMILY = (
    "Alvarez,Barnes,Carter,Dawson,Ellison,Foster,Garza,Hensley,Ingram,Jimenez,Keller,Lawson,Medina,Norris,"
    "Ortega,Parrish,Quintero,Ramsey,Sandoval,Thornton,Underwood,Vasquez,Whitaker,Yates,Zimmerman"
)
_US_GIVEN = (
    "Aaron,Brenda,Carlos,Denise,Elena,Frank,Gloria,Hector,Irene,Jamal,Karen,Leon,Maria,Nathan,Olivia,Pedro,"
    "Rachel,Samuel,Tanya,Victor,Wendy,Xavier,Yolanda"
)
_UK_FAMILY = (
    "Ashworth,Bancroft,Chowdhury,Davies,Eccles,Fairclough,Griffiths,Hargreaves,Iqbal,Jarvis,Kaur,Lloyd,"
    "MacLeod,Nesbitt,O'Hara,Pritchard,Quigley,Rowntree,Sutcliffe,Tomlinson,Underhill,Wainwright,Yardley"
)
_UK_GIVEN = (
    "Alistair,Bethan,Callum,Deborah,Edwin,Fiona,Gareth,Harriet,Imran,Joanne,Kieran,Lorna,Mohammed,Nia,Owen,"
    "Priya,Rhys,Siobhan,Tristan,Ursula,Vikram,Winifred"
)
_CN_CODES = (204, 250, 306, 403, 416, 418, 506, 514, 604, 613, 705, 780, 902)
"""Area codes used for cn, none of them for us: China reserves no numbers for fiction."""
_US_CODES = {
    212: "America/New_York",
    312: "America/Chicago",
    303: "America/Denver",
    415: "America/Los_Angeles",
    602: "America/Phoenix",
    617: "America/New_York",
    713: "America/Chicago",
    206: "America/Los_Angeles",
    404: "America/New_York",
    907: "America/Anchorage",
    504: "America/Chicago",
    808: "Pacific/Honolulu",
    305: "America/New_York",
}
_MAIL_HOSTS = ("example.com", "example.org", "example.net")

# Rows that make import warn, on purpose: so that a first import shows what a warning and its file look like.
_BROKEN_PHONES = {
    "cn": {40: "+1416555014", 41: "无"},
    "us": {40: "212-555-01", 41: "n/a"},
    "uk": {40: "07700 9", 41: "unknown"},
}
_BROKEN_EMAILS = {
    "cn": {60: "wei.zhang@example", 61: "li na@example.com"},
    "us": {60: "karen.yates@@example.org", 61: "leon.garza.example.net"},
    "uk": {60: "rhys.lloyd@example..com", 61: "fiona@"},
}
_UNKNOWN_ZONES = {("us", 80): "America/Springfield"}


@dataclass(frozen=True, slots=True)
class Borrower:
    """A row of borrowers.csv."""

    borrower_id: str
    name: str
    zone: str
    phone: str
    email: str
    phone_region: str


def borrower(portfolio: str, n: int) -> Borrower:
    """The n-th borrower of a portfolio; the same one each time."""
    name, mailbox = _name(portfolio, n)
    phone, region = _phone(portfolio, n)
    email = f"{mailbox}{n}@{_MAIL_HOSTS[n % 3]}"
    if n % 29 == 3 or n % 97 == 11:
        phone, region = "", ""
    if n % 23 == 5 or n % 97 == 11:
        email = ""
    if n in _BROKEN_PHONES[portfolio]:
        phone, region = _BROKEN_PHONES[portfolio][n], region or portfolio.upper().replace("UK", "GB")
    return Borrower(
        borrower_id=f"{portfolio.upper()}-B{n:05d}",
        name=name,
        zone=_zone(portfolio, n),
        phone=phone,
        email=_BROKEN_EMAILS[portfolio].get(n, email),
        phone_region=region,
    )


def reachable(person: Borrower, channel: str) -> bool:
    """Whether import will keep the person's address for this channel."""
    portfolio, n = person.borrower_id[:2].lower(), int(person.borrower_id[4:])
    if channel == "sms":
        return bool(person.phone) and n not in _BROKEN_PHONES[portfolio]
    return bool(person.email) and n not in _BROKEN_EMAILS[portfolio]


def _name(portfolio: str, n: int) -> tuple[str, str]:
    if portfolio == "cn":
        (family, family_latin), (given, given_latin) = (
            entry.split() for entry in (_pick(_CN_FAMILY, n), _pick(_CN_GIVEN, n))
        )
        return family + given, f"{given_latin}.{family_latin}"
    families, givens = (_US_FAMILY, _US_GIVEN) if portfolio == "us" else (_UK_FAMILY, _UK_GIVEN)
    family, given = _pick(families, n), _pick(givens, n)
    return f"{given} {family}", f"{given}.{family}".lower().replace("'", "")


def _pick(words: str, n: int) -> str:
    # The lists' lengths share no divisor, so walking both in step meets every pair before one comes again.
    chosen = words.split(",")
    return chosen[n % len(chosen)]


def _phone(portfolio: str, n: int) -> tuple[str, str]:
    match portfolio:
        case "cn":
            return f"+1{_CN_CODES[n % len(_CN_CODES)]}5550{100 + n // len(_CN_CODES)}", ""
        case "us":
            code, line = list(_US_CODES)[n % len(_US_CODES)], f"0{100 + n // len(_US_CODES)}"
            return (f"({code}) 555-{line}", "US") if n % 4 == 1 else (f"+1{code}555{line}", "")
        case _:
            return (f"07700 {900000 + n}", "GB") if n % 2 else (f"+447700{900000 + n}", "")


def _zone(portfolio: str, n: int) -> str:
    if (portfolio, n) in _UNKNOWN_ZONES:
        return _UNKNOWN_ZONES[portfolio, n]
    match portfolio:
        case "cn" if n % 11 == 4:
            return ""
        case "cn":
            return "Asia/Urumqi" if n % 40 == 7 else "Asia/Shanghai"
        case "us":
            return "" if n % 45 == 13 else list(_US_CODES.values())[n % len(_US_CODES)]
        case _:
            return "" if n % 9 == 2 else "Europe/London"
