package playground

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// Programs of the playground listen below the ports that Linux takes for connections (32768 and above, by default): one that was
// free when it was chosen is not taken by any connection until the program listens there, and not while it is started again.
const lowestPort, highestPort = 10000, 32767

// given holds the ports that this process was given, for a program may take a while until it listens.
var given sync.Map

// FreePorts sets each of ports to a port that is free on loopback now, and that no other call of this process has had.
func FreePorts(ports ...*int) error {
	for _, port := range ports {
		var err error
		if *port, err = freePort(); err != nil {
			return err
		}
	}
	return nil
}

func freePort() (int, error) {
	var err error
	for range 1000 {
		port := lowestPort + rand.IntN(highestPort-lowestPort+1)
		if _, has := given.LoadOrStore(port, true); has {
			continue
		}
		var listener net.Listener
		if listener, err = net.Listen("tcp", loopback(port)); err == nil {
			return port, listener.Close()
		}
	}
	return 0, errors.Join(fmt.Errorf("no port from %d to %d is free", lowestPort, highestPort), err)
}

// loopback is the address of a port for those who listen there.
func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
