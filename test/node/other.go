//go:build !linux

package node

import "errors"

var errLinux = errors.New("a node needs Linux")

const doorFile = 3

// Enter says that a node runs on Linux alone.
func Enter() error { return errLinux }

// Check says the same.
func Check() error { return errLinux }

func makeCgroup() (string, error) { return "", errLinux }
func mount(string) error          { return errLinux }
func forget(string) error         { return errLinux }
func endAll() error               { return errLinux }
func setHostname(string) error    { return errLinux }
