"""An exchange on loopback that speaks Binance's wire format, for the demo, the tests, benchmarks and development.

It serves generated or recorded candles and can be told to misbehave. It knows nothing of the rest of the project but
`domain`; clients reach it over HTTP only. Start it with `server.serve`, `server.RunningSandbox`,
`process.SandboxProcess` or `python -m crypto_assets.sandbox`.
"""
