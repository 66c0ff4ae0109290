"""What training minimises: margins on the true class's cosine, the classifier, centres."""
