"""Model calls: settings and limits of a model, requests, streaming, provider errors, prices, prompt caching."""
