module github.com/caject/caject

go 1.26.0
