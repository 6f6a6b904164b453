"""The bundle of a finished study: an ordinary one, whose evidence says who took part and what left their houses"""
