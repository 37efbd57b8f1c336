"""The queue service: stores jobs, delivers them within the workers' windows, keeps the results."""
