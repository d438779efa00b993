package soak

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/common/expfmt"

	"github.com/caject/caject/test/playground"
)

// scrapeEach is the time between two scrapes.
const scrapeEach = time.Second

// scrape writes what each replica serves as metrics to Scrapes until ctx ends, if there are any: a line with the time in milliseconds since 1970 and the
// replica's number, then the text. A replica that does not answer is left out.
func (s *soak) scrape(ctx context.Context) error {
	if s.Scrapes == nil {
		return nil
	}
	ticker := time.NewTicker(scrapeEach)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case at := <-ticker.C:
			for i, replica := range s.world.Replicas.All() {
				families, err := playground.Metrics(ctx, replica.MetricsPort)
				if err != nil {
					continue
				}
				if _, err := fmt.Fprintf(s.Scrapes, "# scrape %d %d\n", at.UnixMilli(), i); err != nil {
					return err
				}
				for _, family := range families {
					if _, err := expfmt.MetricFamilyToText(s.Scrapes, family); err != nil {
						return err
					}
				}
			}
		}
	}
}
