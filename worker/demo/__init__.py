"""The whole of Dunlin on one machine: servers, processes, a sample book and today's scan."""
