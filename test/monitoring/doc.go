// Package monitoring tries the chart's alerts, monitors and dashboard: expressions with Prometheus' own engine, objects with the Prometheus
// operator's own types, all as helm renders them, on the metrics that caject serves (testdata/metrics.txt, which a test in test/e2e compares
// with a caject that runs). Package test/scrape has a Prometheus scrape a caject that runs.
package monitoring
