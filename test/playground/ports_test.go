package playground

import "testing"

func TestPortsAreNotThoseOfConnections(t *testing.T) {
	t.Parallel()
	seen := map[int]bool{}
	for range 500 {
		var port int
		if err := FreePorts(&port); err != nil {
			t.Fatal(err)
		}
		if port < lowestPort || port > highestPort {
			t.Fatalf("port %d, want one from %d to %d", port, lowestPort, highestPort)
		}
		if seen[port] {
			t.Fatalf("port %d was given twice", port)
		}
		seen[port] = true
	}
}
