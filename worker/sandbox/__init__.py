"""The providers' stand-in on loopback: Twilio's Messages API and a mail server, with faults on request.

A separate process for demo, tests, benchmarks and staging. It reaches nobody, keeps everything it received, and is
never kinder than the real provider: its list lags, its receipts come late, twice or not at all when told so.
"""
