"""The queue service: takes work in, hands it to workers within their windows, keeps the results."""
