"""The providers' stand-in on loopback: Twilio's Messages API and a mail server, with faults on request.

A separate process for demo, tests, benchmarks and staging. It reaches nobody, keeps everything it received,
and is never kinder than the real provider: its list lags, and it fails in every way it is told to.
"""
