"""Sample wordings, chosen to break careless readers: scripts, quotes, formulas, markup, invisible marks."""

VOICE_LINES = (
    "Hi, this is the service desk. What can I do for you?",
    "Mein Paket ist seit drei Wochen unterwegs — wo bleibt es? 📦",
    "שלום, אני רוצה לבטל את ההזמנה שלי",
    "荷物がまだ届いていません。確認してください。",
    'She said "call me back", then hung up; it\'s in C:\\notes\\new.txt',
    "=1+1",
    "",
    "طلبت استرداد المبلغ ولم يصلني شيء",
    "Zeile eins\nZeile zwei\tmit Tabulator",
    "@SUM(A1:A9)",
    "<b>not bold</b> &amp; not an entity",
    "우편번호는 04524입니다. 감사합니다 🙏🏽",
    "-2 degrees outside, +3 inside",
    "Null, None, NaN and true are just words here",
    "emoji family: 👩‍👩‍👧‍👦, flag: 🇨🇭, combining: e\u0301",
    "a line separator\u2028and a zero\u200bwidth space",
)

SUMMARIES = (
    "The caller's parcel was traced and will arrive tomorrow.",
    "Rückfrage zur Rechnung, offen geblieben 🧾",
    None,
    '=HYPERLINK("https://example.com")',
    "顧客は満足して電話を切った。",
    "لم تُحل المشكلة",
)

ENDED_REASONS = (
    "customer-ended-call",
    "assistant-ended-call",
    "silence-timed-out",
    None,
    'provider error: "no route" (code 17)',
)
